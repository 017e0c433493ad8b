//! CPU of the relay per GiB beside a minimal blocking relay; and what an idle attachment costs.
//!
//! `cargo bench --bench relay -- [forward] [GIB]`: two clients (one thread each) push opaque bodies through a relay in a
//! process of its own; then the same through a relay that does nothing but `read_exact`, open and seal 32 bytes, `write_all`.
//! `cargo bench --bench relay -- idle [LINKS]`: memory of the relay's process before and after so many attachments.

// A benchmark prints its figures, and its numbers are small.
#![allow(clippy::print_stdout, clippy::cast_possible_truncation)]

mod client;
mod common;

use client::{Client, name};
use common::{Anyhow, Server, announce, identity, serve};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};
use vp::wire::limits::{DATA_BODY_MAX, SEALED_HEADER_BYTES};

const GIB: f64 = (1_u64 << 30) as f64;

fn main() -> Anyhow<()> {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let word = |at: usize| words.get(at).map(String::as_str);
    match word(0) {
        Some("serve") => serve(word(1).unwrap_or("1").parse()?, 256),
        Some("serve-limit") => serve_limit(word(1).unwrap_or("1").parse()?),
        Some("idle") => idle(word(1).unwrap_or("9000").parse()?),
        Some("one") => one(&words[1..]),
        word0 => forward(word(usize::from(word0 == Some("forward"))).unwrap_or("4").parse()?),
    }
}

fn forward(gib: f64) -> Anyhow<()> {
    println!("{:28} {:>8} {:>12} {:>8} {:>9}", "", "GiB/s", "cpu s/GiB", "ratio", "peak MiB");
    for pairs in [1, 16, 100] {
        let mut limit = 0.0;
        for (name, program) in [("limit", "serve-limit"), ("vp, 1 worker", "serve 1"), ("vp, 2 workers", "serve 2")] {
            let mut runs = Vec::new();
            for _ in 0..3 {
                runs.push(run(program, pairs, gib)?);
            }
            runs.sort_by(|a: &Run, b| a.cpu.total_cmp(&b.cpu));
            let Run { speed, cpu, peak_mib } = runs[1];
            if name == "limit" {
                limit = cpu;
            }
            println!(
                "{:28} {speed:8.3} {cpu:12.3} {:8.2} {peak_mib:9.1}",
                format!("{name}, {pairs} circuits"),
                cpu / limit
            );
        }
    }
    Ok(())
}

/// `one "serve 1" PAIRS GIB`: one run, for a profiler.
fn one(words: &[String]) -> Anyhow<()> {
    let Run { speed, cpu, peak_mib } = run(&words[0], words[1].parse()?, words[2].parse()?)?;
    println!("{speed:.3} GiB/s {cpu:.3} cpu s/GiB, peak {peak_mib:.1} MiB");
    Ok(())
}

/// What one run showed: GiB/s, CPU seconds of the relay per GiB, its largest resident size.
struct Run {
    speed: f64,
    cpu: f64,
    peak_mib: f64,
}

fn start(program: &str, pairs: usize) -> Anyhow<Server> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(program.split(' '));
    if program == "serve-limit" {
        command.arg(pairs.to_string());
    }
    Server::start(&mut command)
}

fn run(program: &str, pairs: usize, gib: f64) -> Anyhow<Run> {
    let server = start(program, pairs)?;
    let bytes_each = (gib * GIB / pairs as f64) as u64;
    let vp = program != "serve-limit";
    let address = server.address;
    let mut receivers = Vec::new();
    let mut senders = Vec::new();
    for pair in 0..pairs {
        if vp {
            let mut receiver = Client::attach(address, pair * 2)?;
            receiver.listen(&name(0))?;
            let mut sender = Client::attach(address, pair * 2 + 1)?;
            sender.call(&mut receiver, &name(0))?;
            receivers.push(End::Client(Box::new(receiver)));
            senders.push(End::Client(Box::new(sender)));
        } else {
            receivers.push(End::Plain(TcpStream::connect(address)?));
            senders.push(End::Plain(TcpStream::connect(address)?));
        }
    }
    let (cpu, start) = (server.cpu_seconds()?, Instant::now());
    let threads: Vec<_> = senders
        .into_iter()
        .map(|end| std::thread::spawn(move || end.send(bytes_each)))
        .chain(receivers.into_iter().map(|end| std::thread::spawn(move || end.receive(bytes_each))))
        .collect();
    // Now and then, because the limit's server ends by itself.
    let mut peak_kib = 0;
    while threads.iter().any(|thread| !thread.is_finished()) {
        peak_kib = server.memory_kib("VmHWM:").unwrap_or(peak_kib);
        std::thread::sleep(Duration::from_millis(20));
    }
    for thread in threads {
        thread.join().map_err(|_| "a client panicked")??;
    }
    let seconds = start.elapsed().as_secs_f64();
    let cpu = (server.cpu_seconds()? - cpu) / gib;
    Ok(Run { speed: gib / seconds, cpu, peak_mib: peak_kib as f64 / 1024.0 })
}

enum End {
    Client(Box<Client>),
    Plain(TcpStream),
}

impl End {
    fn send(self, bytes: u64) -> Anyhow<()> {
        match self {
            End::Client(mut client) => client.send(bytes),
            End::Plain(mut stream) => {
                let frame = vec![7; SEALED_HEADER_BYTES + DATA_BODY_MAX];
                for _ in 0..frames(bytes) {
                    stream.write_all(&frame)?;
                }
                Ok(())
            }
        }
    }

    fn receive(self, bytes: u64) -> Anyhow<()> {
        match self {
            End::Client(mut client) => client.receive(bytes),
            End::Plain(mut stream) => {
                let mut frame = vec![0; SEALED_HEADER_BYTES + DATA_BODY_MAX];
                for _ in 0..frames(bytes) {
                    stream.read_exact(&mut frame)?;
                }
                Ok(())
            }
        }
    }
}

fn frames(bytes: u64) -> u64 {
    bytes / DATA_BODY_MAX as u64
}

/// The limit: connections come in pairs, receiver first; a thread each pair.
fn serve_limit(pairs: usize) -> Anyhow<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    announce(listener.local_addr()?)?;
    let mut threads = Vec::new();
    for _ in 0..pairs {
        let (mut to, _) = listener.accept()?;
        let (mut from, _) = listener.accept()?;
        threads.push(std::thread::spawn(move || -> Anyhow<()> {
            let (mut sealer, mut opener) = channel()?;
            let mut frame = vec![0; SEALED_HEADER_BYTES + DATA_BODY_MAX];
            while from.read_exact(&mut frame).is_ok() {
                let mut header = [0; SEALED_HEADER_BYTES];
                // Stands for opening the sender's header: as much work, on bytes that do authenticate.
                sealer.seal(&header[..16], &mut frame[..SEALED_HEADER_BYTES])?;
                opener.open(&frame[..SEALED_HEADER_BYTES], &mut header)?;
                to.write_all(&frame)?;
            }
            Ok(())
        }));
    }
    for thread in threads {
        thread.join().map_err(|_| "a pair panicked")??;
    }
    Ok(())
}

fn channel() -> Anyhow<(vp::noise::Sealer, vp::noise::Opener)> {
    let (one, two) = (identity(1), identity(2));
    let suite = vp::noise::Suite::preferred();
    let purpose = vp::noise::Purpose::Link;
    let terms = vp::noise::Terms { suite, purpose, context: &[], caps: &[] };
    let (reply, first) = vp::noise::Initiator::start(&terms, &one, two.id())?;
    let (last, second) = vp::noise::Responder::accept(&terms, &two, &first)?;
    let (third, initiator) = reply.finish(&second, &[])?;
    Ok((initiator.sealer, last.finish(&third)?.opener))
}

fn idle(links: usize) -> Anyhow<()> {
    let server = start("serve 2", 0)?;
    let warm = Client::attach(server.address, 0)?;
    let before = server.memory_kib("VmRSS:")?;
    let address = Arc::new(server.address);
    let threads: Vec<_> = (0..2)
        .map(|half| {
            let address = Arc::clone(&address);
            std::thread::spawn(move || -> Anyhow<Vec<Client>> {
                let mut clients = Vec::new();
                for number in 0..links / 2 {
                    let mut client = Client::attach(*address, 2 + number * 2 + half)?;
                    client.listen(&name(0))?;
                    client.shrink();
                    clients.push(client);
                }
                Ok(clients)
            })
        })
        .collect();
    let mut clients = Vec::new();
    for thread in threads {
        clients.extend(thread.join().map_err(|_| "a client panicked")??);
    }
    let after = server.memory_kib("VmRSS:")?;
    println!(
        "{} attachments: {before} KiB before, {after} KiB after, {:.2} KiB each",
        clients.len(),
        (after - before) as f64 / clients.len() as f64
    );
    drop(warm);
    Ok(())
}
