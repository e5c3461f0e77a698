//! Who is blamed, for what, and with which last words.

use rareclip_core::MemoryBankFactory;
use rareclip_process::BankOptions;
use serde_json::{Map, json};

use super::{assert_says, bank, image, options, push, refused, spec};

/// The error of the first `assess` of a host that does `trick` then, and is not replaced.
fn blame(trick: &str) -> String {
    let plan = json!({
        "says": ["reading the model"],
        "wrong": [{ "on": "assess", "do": trick }],
    });
    let options = BankOptions {
        restarts: 0,
        timeout_s: 0.5,
        ..options(&plan)
    };
    let bank = options.build(&spec()).unwrap();
    let error = bank.assess(&image(0)).err().unwrap();
    let message = error.to_string();
    assert_says(
        &message,
        &[
            "bank `outside` of host",
            "outside-host",
            "(process ",
            "asked to `assess`",
            "reading the model",
        ],
    );
    message
}

#[test]
fn a_host_that_ends_is_blamed_with_its_exit_code_and_its_last_words() {
    assert_says(&blame("die"), &["ended with exit code 7", "out of luck"]);
}

#[cfg(unix)]
#[test]
fn a_host_that_crashes_is_blamed_with_its_signal() {
    assert_says(&blame("abort"), &["was killed by signal 6 (SIGABRT)"]);
}

#[test]
fn a_host_that_hangs_or_trickles_is_blamed_with_the_time_it_had() {
    for trick in ["hang", "trickle"] {
        assert_says(&blame(trick), &["gave no answer within 0.5 s", "timeout_s"]);
    }
}

#[test]
fn what_is_no_message_is_named() {
    assert_says(
        &blame("garbage"),
        &["broke the protocol", "begins with [54, 72, 61, 63]"],
    );
    assert_says(
        &blame("no-json"),
        &["broke the protocol", "header is unusable"],
    );
    assert_says(
        &blame("wrong-id"),
        &["broke the protocol", "answered request"],
    );
    assert_says(&blame("cut"), &["ended with exit code 0"]);
}

#[test]
fn a_message_over_the_limit_is_refused_before_memory_is_taken_for_it() {
    assert_says(&blame("oversize"), &["1099511627778 bytes", "max_message"]);
}

#[test]
fn an_answer_against_the_contract_is_an_error_and_the_host_goes_on() {
    for (trick, problem) in [
        ("nan", "holds NaN"),
        ("shape", "has shape [3], expected [4]"),
    ] {
        let bank = bank(&json!({ "wrong": [{ "on": "assess", "do": trick }] }));
        let message = bank.assess(&image(0)).err().unwrap().to_string();
        assert_says(
            &message,
            &[
                "bank `outside`",
                "asked to `assess`",
                "against the contract",
                problem,
            ],
        );
        bank.assess(&image(0)).unwrap();
    }
}

#[test]
fn a_host_may_refuse_an_image_and_its_words_are_passed_on() {
    let mut one = bank(&json!({ "wrong": [{ "on": "absorb", "nth": 2, "do": "refuse" }] }));
    let before = push(&mut *one, 0).unwrap();
    let message = push(&mut *one, 1).unwrap_err().to_string();
    assert_says(
        &message,
        &["asked to `absorb`", "input error: not this one"],
    );
    // The same as if nobody had asked: the host says so, and no other is started.
    let mut other = bank(&json!({}));
    assert_eq!(push(&mut *other, 0).unwrap(), before);
}

#[test]
fn a_request_over_the_limit_is_not_sent() {
    let options = BankOptions {
        max_message: 1024,
        ..options(&json!({}))
    };
    let spec = rareclip_core::backbone::BackboneSpec {
        embedding_width: 300,
        ..spec()
    };
    let bank = options.build(&spec).unwrap();
    let mut features = image(0);
    features.embedding = ndarray::Array1::from_elem(300, 1.0);
    let message = bank.assess(&features).err().unwrap().to_string();
    assert_says(
        &message,
        &["`assess` has", "the limit is 1024", "max_message"],
    );
}

#[test]
fn nan_is_refused_here_and_never_sent() {
    let bank = bank(&json!({}));
    let mut features = image(0);
    features.tokens.get_mut(&1).unwrap()[[0, 0]] = f32::NAN;
    assert_says(
        &bank.assess(&features).err().unwrap().to_string(),
        &["block 1", "NaN"],
    );
}

#[test]
fn a_program_that_cannot_be_started_is_named() {
    let options = BankOptions {
        command: vec!["no-such-program".into()],
        blocks: vec![1],
        ..BankOptions::default()
    };
    assert_says(
        &refused(&options),
        &["`no-such-program`", "cannot be started", "check `command`"],
    );
}

#[test]
fn a_host_that_gives_up_before_it_connects_is_blamed_with_its_words() {
    let message = refused(&options(&json!({ "refuses_to_start": true })));
    assert_says(
        &message,
        &[
            "ended with exit code 1 before it had connected",
            "the licence server does not answer",
        ],
    );
}

#[test]
fn a_host_that_never_connects_is_given_its_time_and_ended() {
    let options = BankOptions {
        start_timeout_s: 0.5,
        ..options(&json!({ "never_connects": true }))
    };
    let start = std::time::Instant::now();
    assert_says(
        &refused(&options),
        &["did not connect within 0.5 s", "start_timeout_s"],
    );
    assert!(start.elapsed().as_secs() < 10);
}

#[test]
fn another_version_of_the_protocol_is_refused_with_both_numbers() {
    let message = refused(&options(&json!({ "protocol": 7 })));
    assert_says(
        &message,
        &["it speaks version 7", "this program [1]", "upgrade"],
    );
}

#[test]
fn whoever_does_not_know_the_token_is_not_our_host() {
    let options = BankOptions {
        start_timeout_s: 1.0,
        ..options(&json!({ "token": "guessed" }))
    };
    assert_says(
        &refused(&options),
        &["without the token of RARECLIP_HOST_TOKEN"],
    );
}

#[test]
fn a_component_that_the_host_does_not_have_is_missed_by_name() {
    let options = BankOptions {
        component: "outsid".into(),
        ..options(&json!({}))
    };
    assert_says(
        &refused(&options),
        &[
            "no bank of that name, only `outside`",
            "did you mean `outside`",
        ],
    );
    let scorer = super::options(&json!({ "slot": "scorer" }));
    assert_says(&refused(&scorer), &["the host has no bank"]);
}

#[test]
fn options_are_checked_by_what_the_host_declares() {
    let with = |name: &str, value: serde_json::Value| BankOptions {
        options: Map::from_iter([(name.to_owned(), value)]),
        ..options(&json!({}))
    };
    assert_says(
        &refused(&with("wieght", json!(1))),
        &["options.wieght: unknown key", "did you mean `weight`"],
    );
    assert_says(
        &refused(&with("weight", json!("heavy"))),
        &["options.weight", "expected a number"],
    );
    assert_says(
        &refused(&with("weight", json!(-1))),
        &["options.weight: found -1"],
    );
    assert!(with("weight", json!(2.5)).build(&spec()).is_ok());
}

#[test]
fn either_a_command_or_an_address_of_this_machine_is_needed() {
    let neither = BankOptions {
        blocks: vec![1],
        ..BankOptions::default()
    };
    assert_says(&refused(&neither), &["option `command` is empty"]);
    let both = BankOptions {
        address: Some("tcp:127.0.0.1:9".into()),
        ..options(&json!({}))
    };
    assert_says(&refused(&both), &["beside a `command`"]);
    for address in ["tcp:192.0.2.1:80", "localhost:80", "unix:", "tcp:127.0.0.1"] {
        let options = BankOptions {
            address: Some(address.into()),
            ..neither.clone()
        };
        assert_says(
            &refused(&options),
            &["option `address`", address, "this machine alone"],
        );
    }
    let nobody = BankOptions {
        address: Some("tcp:127.0.0.1:9".into()),
        ..neither
    };
    assert_says(
        &refused(&nobody),
        &[
            "at tcp:127.0.0.1:9",
            "cannot be reached",
            "that the host runs",
        ],
    );
}

#[test]
fn a_block_that_the_backbone_does_not_give_is_named() {
    let options = BankOptions {
        blocks: vec![1, 4],
        ..options(&json!({}))
    };
    assert_says(&refused(&options), &["block 4 is asked for", "[1]"]);
}

#[test]
fn last_words_are_few_and_short_however_much_a_host_writes() {
    let line = "x".repeat(5000);
    let options = BankOptions {
        restarts: 0,
        command: vec![
            "sh".into(),
            "-c".into(),
            format!("for i in $(seq 5000); do echo '{line}' >&2; done; exit 3"),
        ],
        ..options(&json!({}))
    };
    let message = refused(&options);
    assert_says(&message, &["ended with exit code 3"]);
    assert!(message.len() < 20_000, "{} bytes", message.len());
}
