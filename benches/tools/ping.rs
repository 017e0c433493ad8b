//! `ping`: round trips of small messages, over a TCP connection or through a command's standard input and output.
//!
//! Prints one line: `median 41.2 us, 99 % 80.3 us`. `ping echo` is the far end of the first: it sends everything back.

use std::error::Error;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand};

/// Round trips before the clock counts: windows grow, caches fill.
const WARM_UP: usize = 200;

#[derive(Parser)]
struct Options {
    #[command(subcommand)]
    over: Over,
    /// Bytes of a message.
    #[arg(long, default_value_t = 64, global = true)]
    bytes: usize,
    /// Round trips to measure.
    #[arg(long, default_value_t = 5000, global = true)]
    count: usize,
    /// Stop after so many seconds whatever the count.
    #[arg(long, default_value_t = 20, global = true)]
    seconds: u64,
}

#[derive(Subcommand)]
enum Over {
    /// Listen, print `listening ADDR`, send one connection's bytes back.
    Echo,
    /// Measure over a connection to ADDR.
    Tcp { to: SocketAddr },
    /// Measure through the standard streams of a command.
    Command {
        /// The command and its arguments.
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
}

fn main() -> ExitCode {
    let options = Options::parse();
    let done = match &options.over {
        Over::Echo => echo(),
        Over::Tcp { to } => over_tcp(&options, *to),
        Over::Command { command } => over_command(&options, command),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to tell when standard error is closed too.
            let _ = writeln!(io::stderr(), "ping: error: {error}");
            ExitCode::FAILURE
        }
    }
}

type Done = Result<(), Box<dyn Error>>;

fn echo() -> Done {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    say(&format!("listening {}", listener.local_addr()?))?;
    let (mut stream, _) = listener.accept()?;
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; 64 << 10];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            bytes => stream.write_all(&buffer[..bytes])?,
        }
    }
}

fn over_tcp(options: &Options, to: SocketAddr) -> Done {
    let stream = TcpStream::connect(to)?;
    stream.set_nodelay(true)?;
    measure(options, &mut &stream, &mut &stream)
}

fn over_command(options: &Options, command: &[String]) -> Done {
    let (program, args) = command.split_first().ok_or("a command is missing")?;
    let mut child: Child = Command::new(program).args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let (mut to, mut from) = (child.stdin.take().ok_or("no input")?, child.stdout.take().ok_or("no output")?);
    measure(options, &mut to, &mut from)?;
    drop(to);
    let status = child.wait()?;
    if status.success() { Ok(()) } else { Err(format!("{program}: {status}").into()) }
}

fn measure(options: &Options, to: &mut impl Write, from: &mut impl Read) -> Done {
    let message = vec![0x55; options.bytes];
    let mut answer = vec![0; options.bytes];
    let mut trips: Vec<Duration> = Vec::with_capacity(options.count);
    let end = Instant::now() + Duration::from_secs(options.seconds);
    for n in 0..WARM_UP + options.count {
        let sent = Instant::now();
        to.write_all(&message)?;
        to.flush()?;
        from.read_exact(&mut answer)?;
        if n >= WARM_UP {
            trips.push(sent.elapsed());
        }
        if Instant::now() > end {
            break;
        }
    }
    trips.sort_unstable();
    let micros = |part: usize| trips.get(trips.len() * part / 100).map_or(f64::NAN, |trip| trip.as_secs_f64() * 1e6);
    say(&format!("median {:.1} us, 99 % {:.1} us", micros(50), micros(99)))
}

fn say(line: &str) -> Done {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}
