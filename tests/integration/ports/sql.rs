//! PostgreSQL behind `vp-portrep`, with its own clients: what they do through a mapping is what they do without one,
//! whatever happens to relay and paths. `VP_TEST_SCALE=32` copies a gigabyte, and has minutes of silence and of pgbench.

use std::time::Duration;

use crate::harness::programs::Postgres;
use crate::harness::sites::Sites;
use crate::harness::{Input, Output, Signal, World, eventually, exit, factor, scale, within};

/// Rows of a kilobyte, for 32 MiB.
const ROWS: u64 = 1 << 15;
/// A silent path is taken for dead after ten seconds.
const LONGER_THAN_DEAD: Duration = Duration::from_secs(12);

fn sites<'w>(world: &'w World, database: &Postgres<'_>) -> Sites<'w> {
    Sites::start(world, &[("pg", database.address())])
}

#[test]
fn psql_copies_out_and_in_the_same_rows_while_paths_break() {
    let world = World::new();
    let database = Postgres::start(&world);
    let mut sites = sites(&world, &database);
    sites.between_bytes = 4 << 20;
    let at = sites.at("pg");
    // Text that no compressor takes down to nothing, and the characters that COPY escapes.
    let row = r"n, E'a\\\tb\n' || md5(n::text), (SELECT string_agg(md5((n * 32 + i)::text), '') FROM generate_series(1, 31) i)";
    database.ask(&format!("CREATE TABLE a AS SELECT {row} FROM generate_series(1, {}) n", ROWS * scale()));
    database.ask("CREATE TABLE b (LIKE a)");
    let all = "COPY (SELECT * FROM a ORDER BY n) TO STDOUT";
    let direct = database.psql(database.address()).args(["-c", all]).run().expect(exit::DONE);
    assert!(direct.bytes > ROWS * scale() * 1000);
    let copied = database.psql(at).args(["-c", all]);
    let copied =
        sites.run_troubled(copied.output(Output::File(world.path("rows")))).expect(exit::DONE).expect_silence();
    drop(copied);
    assert_eq!(crate::harness::data::digest(&world.path("rows")), direct.digest);
    let back = database.psql(at).args(["-c", r"\copy b FROM rows"]);
    sites.run_troubled(back).expect(exit::DONE).expect_silence();
    let again = all.replace("FROM a", "FROM b");
    let again = database.psql(database.address()).args(["-c", &again]).run().expect(exit::DONE);
    assert_eq!((again.bytes, again.digest), (direct.bytes, direct.digest));
}

#[test]
fn a_running_query_is_cancelled_by_a_second_connection() {
    let world = World::new();
    let database = Postgres::start(&world);
    let sites = sites(&world, &database);
    let sleepers = || database.ask("SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(600)'");
    let query = database.psql(sites.at("pg")).args(["-c", "SELECT pg_sleep(600)"]).spawn();
    eventually("the query runs", || sleepers() == "1");
    query.signal(Signal::INT);
    let done = query.wait().expect(exit::FAILED);
    assert!(done.stderr.contains("canceling statement due to user request"), "{done}");
    eventually("the server has no such query", || sleepers() == "0");
}

#[test]
fn a_listener_hears_after_a_long_silence() {
    let world = World::new();
    let database = Postgres::start(&world);
    let sites = sites(&world, &database);
    let mut psql = database.psql(sites.at("pg")).input(Input::Held).spawn();
    psql.write(b"LISTEN news;\nSELECT 'listens';\n");
    psql.wait_output(b"listens\n");
    let carriers = || sites.up.count().accepted + sites.down.count().accepted;
    let before = carriers();
    within(LONGER_THAN_DEAD * factor(), || false);
    assert_eq!(carriers(), before, "an idle path was taken for a dead one");
    database.ask("NOTIFY news, 'rain'");
    psql.write(b"SELECT 'asks';\n");
    let heard = psql.wait_line("Asynchronous notification");
    assert!(heard.starts_with("Asynchronous notification \"news\" with payload \"rain\" received"), "{heard}");
    psql.close_input();
    psql.wait().expect(exit::DONE).expect_silence();
}

#[test]
fn a_cursor_outlives_relays() {
    let world = World::new();
    let database = Postgres::start(&world);
    let mut sites = sites(&world, &database);
    let mut psql = database.psql(sites.at("pg")).input(Input::Held).spawn();
    psql.write(b"BEGIN; DECLARE c CURSOR FOR SELECT generate_series(1, 1000000); FETCH 1 FROM c;\n");
    let mut rows = "1\n".to_owned();
    psql.wait_output(rows.as_bytes());
    for fetch in 0..4 * scale() {
        // Asked for while nobody could answer.
        sites.relay.kill();
        psql.write(b"FETCH 100 FROM c;\n");
        sites.relay.restart();
        for row in fetch * 100 + 2..=fetch * 100 + 101 {
            rows.push_str(&format!("{row}\n"));
        }
        psql.wait_output(rows.as_bytes());
    }
    psql.write(b"COMMIT;\n");
    psql.close_input();
    psql.wait().expect(exit::DONE).expect_output(rows.as_bytes()).expect_silence();
}

#[test]
fn pgbench_adds_up_while_the_relay_is_killed_every_three_seconds() {
    let world = World::new();
    let database = Postgres::start(&world);
    let mut sites = sites(&world, &database);
    let make = database.client("pgbench", database.address()).args(["-i", "-q", "-s", "2", "postgres"]);
    drop(make.run().expect(exit::DONE));
    let seconds = (10 * scale()).to_string();
    let run = database.client("pgbench", sites.at("pg")).args(["-n", "-c", "4", "-j", "2", "-T", &seconds, "postgres"]);
    let done = sites.run_while_the_relay_dies(run, Duration::from_secs(3)).expect(exit::DONE);
    let said = String::from_utf8_lossy(&done.stdout);
    let number = |label: &str| said.lines().find_map(|line| line.strip_prefix(label)).map(str::trim);
    assert_eq!(number("number of failed transactions:"), Some("0 (0.000%)"), "{done}");
    assert!(!done.stderr.contains("abort"), "{done}");
    let processed = number("number of transactions actually processed:").expect("a number");
    assert!(processed.parse::<u64>().is_ok_and(|count| count > 100), "{done}");
    assert_eq!(database.ask("SELECT count(*) FROM pgbench_history"), processed, "each once");
    let sums = ["abalance) FROM pgbench_accounts", "tbalance) FROM pgbench_tellers", "bbalance) FROM pgbench_branches"];
    let delta = database.ask("SELECT sum(delta) FROM pgbench_history");
    for sum in sums {
        assert_eq!(database.ask(&format!("SELECT sum({sum}")), delta, "{sum}");
    }
}
