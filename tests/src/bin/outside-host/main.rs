//! A host of components as an outsider would write it in Rust, which also does on demand what a
//! host must not do.
//!
//! Its only argument is a plan as JSON.

mod components;
mod plan;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use components::Component;
use plan::{Plan, Trick};
use rareclip_process::frame::Frame;
use rareclip_process::{ADDRESS_VARIABLE, TOKEN_VARIABLE};
use serde_json::json;

/// The largest message it takes.
const LIMIT: u64 = 1 << 30;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let plan = Plan::read(std::env::args().nth(1).as_deref().unwrap_or("{}"))?;
    for line in &plan.says {
        eprintln!("{line}");
    }
    if plan.refuses_to_start {
        return Err("the licence server does not answer".into());
    }
    let address = std::env::var(ADDRESS_VARIABLE).unwrap_or_default();
    match &plan.listen {
        Some(path) => listen(path, &plan),
        None if plan.never_connects => {
            std::thread::sleep(Duration::from_secs(600));
            Ok(())
        }
        None => match address.split_once(':') {
            #[cfg(unix)]
            Some(("unix", path)) => {
                let stream = std::os::unix::net::UnixStream::connect(path)?;
                talk(&mut &stream, &mut &stream, &plan)
            }
            Some(("tcp", address)) => {
                let stream = TcpStream::connect(address)?;
                talk(&mut &stream, &mut &stream, &plan)
            }
            _ => Err(format!("no address in {ADDRESS_VARIABLE}").into()),
        },
    }
}

/// Serves whoever connects, each in a thread.
#[cfg(unix)]
fn listen(path: &std::path::Path, plan: &Plan) -> Result<(), Failure> {
    let listener = std::os::unix::net::UnixListener::bind(path)?;
    for stream in listener.incoming() {
        let (stream, plan) = (stream?, plan.clone());
        std::thread::spawn(move || {
            if let Err(error) = talk(&mut &stream, &mut &stream, &plan) {
                eprintln!("{error}");
            }
        });
    }
    Ok(())
}

#[cfg(not(unix))]
fn listen(_: &std::path::Path, _: &Plan) -> Result<(), Failure> {
    Err("listens on Unix sockets alone".into())
}

/// Answers until the connection ends.
fn talk(from: &mut dyn Read, to: &mut dyn Write, plan: &Plan) -> Result<(), Failure> {
    let mut component: Option<Component> = None;
    let mut tricks = plan.tricks();
    loop {
        let Ok((request, id)) = Frame::read(from, LIMIT) else {
            return Ok(());
        };
        let name: String = request.parse("request")?;
        let trick = tricks.of(&name);
        std::thread::sleep(plan.delay_of(&name));
        let answer = match (name.as_str(), &mut component) {
            ("hello", _) => Ok(hello(plan)),
            ("open", component) => component.insert(Component::new(plan, &request)?).opened(),
            (_, Some(component)) => component.answer(&name, &request),
            _ => Err("nothing is open".into()),
        };
        let answer = answer.unwrap_or_else(|message| refusal("input", &message));
        match trick {
            Some(trick) => play(trick, answer, id, to)?,
            None => answer.write(to, id, LIMIT)?,
        }
    }
}

fn hello(plan: &Plan) -> Frame {
    let token = std::env::var(TOKEN_VARIABLE).unwrap_or_default();
    Frame::new()
        .with("protocol", plan.protocol)
        .with("token", plan.token.clone().unwrap_or(token))
        .with(
            "components",
            json!([
                { "slot": plan.slot, "name": "outside", "version": plan.version, "options": {
                    "type": "object",
                    "additionalProperties": false,
                    "properties": { "weight": { "type": "number", "minimum": 0 } }
                }},
                { "slot": "index", "name": "other" }
            ]),
        )
}

fn refusal(kind: &str, message: &str) -> Frame {
    Frame::new().with("error", json!({ "kind": kind, "message": message }))
}

/// Does something else than answering.
fn play(trick: Trick, mut answer: Frame, id: u64, to: &mut dyn Write) -> Result<(), Failure> {
    match trick {
        Trick::Die => {
            eprintln!("out of luck");
            std::process::exit(7)
        }
        Trick::Abort => std::process::abort(),
        Trick::Hang => std::thread::sleep(Duration::from_secs(600)),
        Trick::Trickle => {
            for byte in answer.encode(id, LIMIT)? {
                to.write_all(&[byte])?;
                std::thread::sleep(Duration::from_millis(100));
            }
        }
        Trick::Garbage => to.write_all(b"Traceback (most recent call last):\n")?,
        Trick::NoJson => {
            let mut bytes = b"RCLP\x03\0\0\0".to_vec();
            bytes.extend([0; 8]);
            bytes.extend(b"{]}");
            to.write_all(&bytes)?;
        }
        Trick::Oversize => {
            let mut bytes = b"RCLP\x02\0\0\0".to_vec();
            bytes.extend((1u64 << 40).to_le_bytes());
            to.write_all(&bytes)?;
        }
        Trick::Cut => {
            let bytes = answer.encode(id, LIMIT)?;
            to.write_all(&bytes[..bytes.len() / 2])?;
            std::process::exit(0)
        }
        Trick::WrongId => answer.write(to, id + 1, LIMIT)?,
        Trick::Refuse => refusal("input", "not this one").write(to, id, LIMIT)?,
        Trick::Nan => {
            components::spoil(&answer, |values| values[0] = f32::NAN).write(to, id, LIMIT)?
        }
        Trick::Shape => {
            components::spoil(&answer, |values| values.truncate(values.len() - 1))
                .write(to, id, LIMIT)?;
        }
        Trick::NoStatus => {
            answer.set("status", "fine");
            answer.write(to, id, LIMIT)?;
        }
    }
    to.flush()?;
    Ok(())
}
