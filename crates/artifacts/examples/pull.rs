//! Fetches artefacts of the catalogue by name, or lists them:
//! `cargo run -p rareclip-artifacts --example pull -- dinov2-small`.

#![allow(clippy::print_stdout, reason = "it prints its result")]

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let names: Vec<String> = std::env::args().skip(1).collect();
    if names.is_empty() {
        for artefact in rareclip_artifacts::catalogue()? {
            println!(
                "{:20} {} [{}]",
                artefact.name, artefact.summary, artefact.licence
            );
        }
    }
    for name in names {
        let path = rareclip_artifacts::fetch(&name, &mut |step| match step {
            rareclip_artifacts::Step::Receiving { .. } => {}
            step => eprintln!("{name}: {step:?}"),
        })?;
        println!("{}", path.display());
    }
    Ok(())
}
