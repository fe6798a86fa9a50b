//! The smallest client: it downloads a file and shows how far it is.
//!
//! ```sh
//! cargo run --example fetch -- 127.0.0.1:6969 firmware/blink.bin blink.bin
//! cargo run --example fetch -- 127.0.0.1:6969 welcome.txt -
//! ```

use std::error::Error;
use std::process::ExitCode;
use tftpkit::client::Host;
use tftpkit::store::WholeFile;
use tftpkit::transfer::{Sink, Writer};

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [host, name, to] = arguments.as_slice() else {
        eprintln!("usage: fetch HOST[:PORT] NAME FILE, where FILE is - for standard output");
        return ExitCode::FAILURE;
    };
    match fetch(host, name, to) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\r{error}");
            ExitCode::FAILURE
        }
    }
}

fn fetch(host: &str, name: &str, to: &str) -> Result<(), Box<dyn Error>> {
    let client = host.parse::<Host>()?.client()?;
    let sink: Box<dyn Sink> = match to {
        "-" => Box::new(Writer(std::io::stdout())),
        // It is there when it is whole. What has this name now stays until then.
        file => Box::new(WholeFile::create(file)?),
    };
    let summary = client.get(name, sink, |progress| match progress.total {
        Some(total) => eprint!("\r{} of {total} bytes", progress.bytes),
        None => eprint!("\r{} bytes", progress.bytes),
    })?;
    eprintln!(" in {:.1?}", summary.elapsed);
    Ok(())
}
