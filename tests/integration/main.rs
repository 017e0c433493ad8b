//! Integration tests: the real programs over loopback, one file a topic.
//!
//! Every test has a world of its own (keys, peers, relay, directory), so that all of them may run at once. Nothing here
//! sleeps or fixes a port: ports come from the kernel, readiness from ready lines, and every wait has a deadline. Tests of
//! failures also assert what was not created. `VP_TEST_SCALE=N` repeats the counting ones N times as often.

mod harness;
#[path = "../tools/impair/mod.rs"]
mod impair;

mod anew;
mod attach;
mod baddays;
mod beyond;
mod breaks;
mod callee;
mod commands;
mod completions;
mod detours;
mod durable;
mod escapes;
mod events;
mod exits;
mod fairness;
mod faithful;
mod files;
mod filesystems;
mod firstday;
mod fronts;
mod greedy;
mod hostile;
mod interop;
mod jobs;
mod keepalive;
mod keygen;
mod leaving;
mod listening;
mod mixups;
mod names;
mod omit;
mod oneshot;
mod ordinary;
mod ports;
mod power;
mod produce;
mod proxies;
mod rated;
mod ready;
mod refusals;
mod relay;
mod reload;
mod requests;
mod resume;
mod said;
mod shares;
mod siblings;
mod signals;
mod socket_files;
mod stream;
mod terminal;
mod tls;
mod ulimits;
mod unread;
mod websocket;
