//! `impair --target ADDR`: the impairment proxy on its own, for benchmarks and for trying things by hand.
//!
//! Prints `listening ADDR`, then takes one command a line on standard input (`stall up`, `drop`, `heal`, `flip 1000`,
//! `delay 25ms`, `count`, …) and answers each with one line. Ends with its standard input.

#[path = "mod.rs"]
mod impair;

use std::io::{self, BufRead, Write};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use impair::{Command, Impair, Shape};
use vp::cli::units::{Rate, Size, duration};

/// Carry TCP connections over a path that is as bad as wanted.
#[derive(Parser)]
struct Options {
    /// Where to listen.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Where to connect to.
    #[arg(long, value_name = "ADDR")]
    target: SocketAddr,
    /// Time from arrival to delivery, each way.
    #[arg(long, value_name = "DUR", default_value = "0", value_parser = duration)]
    delay: Duration,
    /// Up to this much more, evenly distributed.
    #[arg(long, value_name = "DUR", default_value = "0", value_parser = duration)]
    jitter: Duration,
    /// Bytes per second, each way, each connection.
    #[arg(long, value_name = "RATE")]
    rate: Option<Rate>,
    /// Bytes per write at most.
    #[arg(long, value_name = "BYTES")]
    slice: Option<NonZeroUsize>,
    /// Bytes in flight at most, each way, each connection.
    #[arg(long, value_name = "SIZE", default_value = "16M")]
    queue: Size,
    /// A command to begin with, such as 'at up 1M reset' (repeatable).
    #[arg(long = "do", value_name = "COMMAND")]
    begin: Vec<Command>,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to tell when standard error is closed too.
            let _ = writeln!(io::stderr(), "impair: error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> io::Result<()> {
    let shape = Shape {
        delay: options.delay,
        jitter: options.jitter,
        rate: options.rate.map(|Rate(rate)| rate),
        slice: options.slice,
        queue_bytes: usize::try_from(options.queue.0).unwrap_or(usize::MAX),
    };
    let proxy = Impair::start(options.listen, options.target, shape)?;
    for command in &options.begin {
        proxy.tell(command.clone())?;
    }
    let mut out = io::stdout().lock();
    writeln!(out, "listening {}", proxy.address())?;
    out.flush()?;
    for line in io::stdin().lock().lines() {
        match line?.trim() {
            "" => continue,
            "count" => writeln!(out, "{:?}", proxy.count())?,
            line => match line.parse::<Command>() {
                Ok(command) => {
                    proxy.tell(command)?;
                    writeln!(out, "ok")?;
                }
                Err(error) => writeln!(out, "error {error}")?,
            },
        }
        out.flush()?;
    }
    Ok(())
}
