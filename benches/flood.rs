//! What a crowd of links of one peer takes from others at a relay: time and memory.
//!
//! `cargo bench --bench flood -- turns [--check] [LINKS [KIND…]]`: a flood of each kind over so many links of one peer (200),
//! while two others exchange 64 bytes, and two more send as fast as they can. The flooders are a process of their own, at the
//! lowest priority. With `--check` it fails where [`TRIP_P99_MAX`] or [`SHARE_MIN`] is missed; `relay/tests/floods.rs` asserts the
//! same of the machine alone, by work and not by time. `… -- backlog [LINKS [KIND…]]`: the same floods, as far as they can be said
//! without hearing anything, wait for a relay that did not run for a while, and behind them 64 bytes of others. It says when these
//! are back and when all is done, and that depends less on the machine's load.
//! `… -- costs [KIND…]`: processor time of the relay for a frame of each kind, from which `relay/fair/work.rs` has its
//! figures. `… -- memory`: the most that the relay has had in memory under links that ask without end and hear nothing, or
//! too little.
//!
//! `VP_RELAY=FILE` measures the relay of that program in place of this one's.

// A benchmark prints its figures, and its numbers are small.
#![allow(clippy::print_stdout, clippy::cast_possible_truncation)]

mod client;
mod common;
#[path = "flood/kinds.rs"]
mod kinds;
#[path = "flood/websocket.rs"]
mod websocket;

use client::{Client, NOW, name};
use common::{Anyhow, Server};
use kinds::{Flood, Flooder};
use rustix::net::recv;
use rustix::process::{Pid, Signal, kill_process};
use std::io::Read;
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How long each figure is measured.
const MEASURED: Duration = Duration::from_secs(3);
/// The goal: of the round trips of 64 bytes beside a flood 99 in 100 take no longer.
const TRIP_P99_MAX: Duration = Duration::from_millis(10);
/// The goal: who sends as fast as he can beside a flood has this part of his share at least. That is half of what he has alone, for
/// there are two who want as much as there is.
const SHARE_MIN: f64 = 0.5;

fn main() -> Anyhow<()> {
    let mut words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let all = words.len();
    words.retain(|word| word != "--check");
    let checks = words.len() < all;
    let word = |at: usize| words.get(at).map(String::as_str);
    match word(0) {
        Some("serve") => common::serve(word(1).unwrap_or("1").parse()?, word(2).unwrap_or("256").parse()?),
        Some("flood") => flood(&words[1..]),
        Some("backlog") => backlog(word(1).unwrap_or("200").parse()?, &words[words.len().min(2)..]),
        Some("costs") => costs(&words[1..]),
        Some("memory") => memory(),
        Some("turns") => {
            let rows = turns(word(1).unwrap_or("200").parse()?, &words[words.len().min(2)..])?;
            if checks { check(&rows) } else { Ok(()) }
        }
        Some(other) => Err(format!("what is {other}?").into()),
        None => turns(200, &[]).and_then(|rows| if checks { check(&rows) } else { Ok(()) }),
    }
}

/// A relay with so many workers and so much memory.
fn start(workers: usize, memory_mib: u32) -> Anyhow<Server> {
    let program = match std::env::var_os("VP_RELAY") {
        Some(program) => program.into(),
        None => std::env::current_exe()?,
    };
    Server::start(Command::new(program).args(["serve", &workers.to_string(), &memory_mib.to_string()]))
}

fn signal(server: &Server, signal: Signal) -> Anyhow<()> {
    Ok(kill_process(Pid::from_child(&server.child), signal)?)
}

/// Those that are named, or all.
fn wanted(names: &[String]) -> impl Iterator<Item = Flood> {
    Flood::ALL.into_iter().filter(|kind| names.is_empty() || names.iter().any(|name| name == kind.name()))
}

// Time.

/// What two honest pairs saw.
struct Seen {
    /// Round trips of 64 bytes, sorted.
    trips: Vec<Duration>,
    /// Bytes a second of the pair that sends.
    speed: f64,
}

/// What came of a flood.
struct Row {
    name: String,
    trip_p99: Duration,
    /// Of those who send, the part of what they have alone.
    of_alone: f64,
}

/// Whether the goal is reached by all.
fn check(rows: &[Row]) -> Anyhow<()> {
    let mut missed = 0;
    for Row { name, trip_p99, of_alone } in rows {
        let share = of_alone * 2.0;
        if *trip_p99 > TRIP_P99_MAX || share < SHARE_MIN {
            missed += 1;
            println!(
                "{name}: missed, with {trip_p99:.1?} of {TRIP_P99_MAX:?} at most, and {share:.2} of {SHARE_MIN} at least"
            );
        }
    }
    if missed == 0 { Ok(()) } else { Err(format!("{missed} of {} floods miss the goal", rows.len()).into()) }
}

fn turns(links: usize, kinds: &[String]) -> Anyhow<Vec<Row>> {
    let mut rows = Vec::new();
    let floods: Vec<Flood> = wanted(kinds).collect();
    println!("{:32} {:>9} {:>9} {:>9} {:>9}", "", "p50 ms", "p99 ms", "most ms", "MiB/s");
    for workers in [1, 2] {
        let mut alone = 0.0;
        for kind in [None].into_iter().chain(floods.iter().copied().map(Some)) {
            let server = start(workers, 256)?;
            let flooders = kind.map(|kind| Flooders::start(&server, kind, links)).transpose()?;
            let Seen { trips, speed } = measure(&server)?;
            drop(flooders);
            let trip = |part: f64| trips[((trips.len() - 1) as f64 * part) as usize];
            let millis = |part: f64| trip(part).as_secs_f64() * 1000.0;
            if kind.is_none() {
                alone = speed;
            }
            let (name, of_alone) =
                (format!("{workers} workers, {}", kind.map_or("nobody", Flood::name)), speed / alone);
            let (p50, p99, most) = (millis(0.5), millis(0.99), millis(1.0));
            let speed = speed / f64::from(1 << 20);
            println!("{name:32} {p50:9.2} {p99:9.2} {most:9.2} {speed:9.0}  {of_alone:.2} of alone");
            if kind.is_some() {
                rows.push(Row { name, trip_p99: trip(0.99), of_alone });
            }
        }
    }
    Ok(rows)
}

/// A process that floods, until this is dropped.
struct Flooders(std::process::Child);

impl Flooders {
    fn start(server: &Server, kind: Flood, links: usize) -> Anyhow<Flooders> {
        let mut command = Command::new("nice");
        command.args(["-n", "19"]).arg(std::env::current_exe()?).args(["flood", kind.name()]);
        command.args([server.address.to_string(), links.to_string()]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        // It says so when all links are up.
        child.stdout.take().ok_or("no output")?.read_exact(&mut [0])?;
        Ok(Flooders(child))
    }
}

impl Drop for Flooders {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn flood(words: &[String]) -> Anyhow<()> {
    let [kind, address, links] = words else { return Err("flood KIND ADDRESS LINKS".into()) };
    let (kind, address, links) = (Flood::named(kind).ok_or("what flood?")?, address.parse()?, links.parse::<usize>()?);
    if kind.is_carried() {
        return flood_over(websocket::crowd(address, links)?, move |mine| websocket::flood(kind, mine));
    }
    flood_over(kinds::crowd(kind, address, links)?, move |mine| kinds::flood(kind, mine))
}

/// Floods over links in a few threads.
fn flood_over<C: Send + 'static>(
    mut clients: Vec<C>,
    flood: impl Fn(Vec<C>) -> Anyhow<()> + Copy + Send + 'static,
) -> Anyhow<()> {
    println!("!");
    // Those of a group stay together.
    let per_thread = clients.len().div_ceil(4).next_multiple_of(4);
    let mut threads = Vec::new();
    while !clients.is_empty() {
        let mine = clients.split_off(clients.len().saturating_sub(per_thread));
        threads.push(thread::spawn(move || flood(mine)));
    }
    for thread in threads {
        thread.join().map_err(|_| "a flooder panicked")??;
    }
    Ok(())
}

/// One after the other, for the machine may have few cores, and what sends as fast as it can takes time from all.
fn measure(server: &Server) -> Anyhow<Seen> {
    let (mut asks, mut answers) = Client::pair(server.address, 1)?;
    let (mut sends, mut takes) = Client::pair(server.address, 3)?;
    // They end with the relay.
    thread::spawn(move || answers.echo());
    let (mut began, mut trips) = (Instant::now(), Vec::new());
    while began.elapsed() < MEASURED {
        let sent = Instant::now();
        asks.round_trip()?;
        trips.push(sent.elapsed());
        // As somebody who types, not as a flood of its own.
        thread::sleep(Duration::from_millis(1));
    }
    trips.sort_unstable();
    let (over, taken) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let (is_over, counts) = (Arc::clone(&over), Arc::clone(&taken));
    thread::spawn(move || sends.send_until(&is_over));
    thread::spawn(move || takes.take(&counts));
    began = Instant::now();
    thread::sleep(MEASURED);
    let speed = taken.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64();
    over.store(true, Ordering::Relaxed);
    Ok(Seen { trips, speed })
}

fn backlog(links: usize, kinds: &[String]) -> Anyhow<()> {
    println!("{:32} {:>9} {:>9} {:>9} {:>9}", "64 bytes there and back", "p50 ms", "most ms", "all ms", "part");
    for workers in [1, 2] {
        for kind in [None].into_iter().chain(wanted(kinds).filter(|kind| kind.is_one_sided()).map(Some)) {
            let mut runs = Vec::new();
            for _ in 0..9 {
                runs.push(after_backlog(workers, kind, links)?);
            }
            runs.sort_unstable();
            let millis = |time: Duration| time.as_secs_f64() * 1000.0;
            let ((p50, all), most) = (runs[4], runs[8].0);
            let (p50, most, all) = (millis(p50), millis(most), millis(all));
            let name = format!("{workers} workers, {}", kind.map_or("nobody", Flood::name));
            println!("{name:32} {p50:9.2} {most:9.2} {all:9.0} {:9.3}", p50 / all);
        }
    }
    Ok(())
}

/// When others have their bytes back, and when the flood is over.
fn after_backlog(workers: usize, kind: Option<Flood>, links: usize) -> Anyhow<(Duration, Duration)> {
    let server = start(workers, 256)?;
    let (mut asks, mut answers) = Client::pair(server.address, 1)?;
    // It ends with the relay.
    thread::spawn(move || answers.echo());
    let mut flooders = match kind {
        Some(kind) => kinds::crowd(kind, server.address, links)?,
        None => Vec::new(),
    };
    for _ in 0..3 {
        asks.round_trip()?;
    }
    signal(&server, Signal::STOP)?;
    let begin = |flooder: &mut Flooder| flooder.begin(kind.unwrap_or(Flood::Ping));
    let pending: Anyhow<Vec<_>> = flooders.iter_mut().map(begin).collect();
    let began = Instant::now();
    signal(&server, Signal::CONT)?;
    asks.round_trip()?;
    let answered = began.elapsed();
    for (flooder, pending) in flooders.iter_mut().zip(pending?) {
        flooder.end(&pending)?;
    }
    Ok((answered, began.elapsed()))
}

// Costs.

fn costs(kinds: &[String]) -> Anyhow<()> {
    println!("{:32} {:>12}", "", "ns a frame");
    for kind in wanted(kinds).filter(|kind| kind.is_one_sided()) {
        println!("{:32} {:12.0}", kind.name(), cost(kind)?);
    }
    if !kinds.is_empty() {
        return Ok(());
    }
    // What a call costs beyond what it costs where there is nowhere to move.
    let [stays, moves] = [cost_of_calls(1)?, cost_of_calls(2)?];
    println!("{:32} {moves:12.0} {:12.0} for the move", "call that moves", moves - stays);
    let (server, count) = (start(1, 256)?, 100_000_u32);
    let (mut asks, mut answers) = Client::pair(server.address, 1)?;
    thread::spawn(move || answers.echo());
    let before = server.cpu_seconds()?;
    (0..count).try_for_each(|_| asks.round_trip())?;
    println!("{:32} {:12.0}", "round trip", (server.cpu_seconds()? - before) * 1e9 / f64::from(count));
    let (server, count) = (start(1, 256)?, 1000_u32);
    let before = server.cpu_seconds()?;
    (0..count).try_for_each(|_| Client::attach(server.address, 1).map(drop))?;
    println!("{:32} {:12.0}", "handshake", (server.cpu_seconds()? - before) * 1e9 / f64::from(count));
    Ok(())
}

/// Processor time of the relay for one of a kind, nanoseconds.
fn cost(kind: Flood) -> Anyhow<f64> {
    let server = start(1, 256)?;
    let (one, mut other) = Client::pair(server.address, 1)?;
    let mut one = Flooder::from(one);
    // It ends with the relay.
    thread::spawn(move || other.swallow());
    let before = server.cpu_seconds()?;
    one.say_all(kind, kind.count())?;
    Ok((server.cpu_seconds()? - before) * 1e9 / f64::from(kind.count()))
}

/// The same for a call that is taken, by turns by links that are at different workers if there are several.
fn cost_of_calls(workers: usize) -> Anyhow<f64> {
    let (server, count) = (start(workers, 256)?, 20_000_u32);
    // Links are spread over workers in the order in which they come.
    let (mut one, mut two) = (Client::attach(server.address, 1)?, Client::attach(server.address, 2)?);
    let mut caller = Client::attach(server.address, 3)?;
    one.listen(&name(0))?;
    two.listen(&name(0))?;
    let before = server.cpu_seconds()?;
    for _ in 0..count / 2 {
        for callee in [&mut one, &mut two] {
            caller.call(callee, &name(0))?;
            caller.hang_up(callee)?;
        }
    }
    Ok((server.cpu_seconds()? - before) * 1e9 / f64::from(count))
}

// Memory.

fn memory() -> Anyhow<()> {
    println!("{:44} {:>9} {:>9} {:>12}", "", "MiB", "allowed", "KiB a link");
    for (links, memory_mib, hears) in [(250, 256, true), (1200, 16, false), (1200, 16, true)] {
        let server = start(2, memory_mib)?;
        let before = server.memory_kib("VmHWM:")?;
        let mut clients = Vec::new();
        for n in 0..links {
            // No more of one peer, and of one address, than they may have.
            let source = Ipv4Addr::new(127, 0, 0, 2 + (n / 250) as u8);
            clients.push(Flooder::from(Client::attach_from(server.address, source, 10 + n / 250)?));
        }
        let asked: Anyhow<Vec<Vec<u8>>> = clients.iter_mut().map(|client| client.listens(20_000)).collect();
        let mut asked: Vec<(Vec<u8>, usize)> = asked?.into_iter().map(|bytes| (bytes, 0)).collect();
        let (began, mut hear_at) = (Instant::now(), Instant::now());
        while began.elapsed() < 5 * MEASURED {
            for (client, (bytes, at)) in clients.iter_mut().zip(&mut asked) {
                // An error: it did not take what was for it.
                *at += client.client.write_some(&bytes[*at..]).unwrap_or(0);
            }
            if hears && Instant::now() >= hear_at {
                hear_at += Duration::from_secs(3);
                for client in &mut clients {
                    let _ = recv(&client.client.stream, &mut [0], NOW);
                }
            }
            thread::sleep(Duration::from_millis(20));
        }
        let peak = server.memory_kib("VmHWM:")?;
        let beyond = (peak - before).saturating_sub(u64::from(memory_mib) << 10);
        println!(
            "{:44} {:9.1} {:9.1} {:12.1}",
            format!("{links} links, --memory {memory_mib}M, {}", if hears { "a byte in 3 s" } else { "deaf" }),
            (peak - before) as f64 / 1024.0,
            f64::from(memory_mib) + f64::from(links as u32) * 48.0 / 1024.0,
            beyond as f64 / f64::from(links as u32)
        );
    }
    Ok(())
}
