//! Every fuzz entry over its seeds and some thousand mutations of them, without a fuzzer: the same inputs in every run.
//!
//! `BLESS=1` makes those seeds anew that come from the vector files. The rest were found by a fuzzer, or by hand.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

#[path = "../fuzz/src/lib.rs"]
#[expect(dead_code, reason = "the fuzz targets run entries by name")]
mod entries;

use entries::ENTRIES;

/// Mutations of an entry: as many as all take together in about 20 seconds without optimisation.
fn mutations(name: &str) -> u32 {
    match name {
        "relay_ops" | "session_ops" | "hostile_relay" => 400,
        "handshake" | "join" | "session_join" | "session_peer" => 2_000,
        "answer" | "card" | "key_file" | "unpack" | "block" => 10_000,
        "address" | "peers" | "relays" => 10_000,
        _ => 40_000,
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound.max(1)).expect("64 bits");
        usize::try_from(self.next() % bound).expect("below a usize")
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }
}

/// One change of the kinds that find most: a bit, a byte, a number at its edge, a piece lost, doubled or borrowed.
fn mutate(random: &mut Random, data: &mut Vec<u8>, other: &[u8]) {
    let at = random.below(data.len() + 1);
    let edges = [0, 1, 0x7f, 0x80, 0xfb, 0xfe, 0xff];
    match random.below(8) {
        0 => data.insert(at, random.byte()),
        1 => data.truncate(at),
        2 if at < data.len() => data[at] ^= 1 << random.below(8),
        3 if at < data.len() => data[at] = edges[random.below(edges.len())],
        4 if at < data.len() => data[at] = random.byte(),
        5 => drop(data.drain(at..data.len().min(at + random.below(9)))),
        6 => {
            let piece = data[at..data.len().min(at + random.below(64))].to_vec();
            data.splice(at..at, piece);
        }
        _ => {
            let from = random.below(other.len());
            let piece = &other[from..other.len().min(from + random.below(64))];
            data.splice(at..at, piece.iter().copied());
        }
    }
}

fn corpus(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name)
}

/// The seeds of an entry, in the order of their names.
fn seeds(name: &str) -> Vec<Vec<u8>> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(corpus(name)).expect("a corpus").map(|file| file.expect("a seed").path()).collect();
    files.sort();
    files.iter().map(|file| fs::read(file).expect("a seed")).collect()
}

/// Runs an entry; a panic names the input.
fn run(entry: entries::Entry, data: &[u8]) {
    let (name, run) = entry;
    if std::panic::catch_unwind(|| run(data)).is_err() {
        let hex: String = data.iter().map(|byte| format!("{byte:02x}")).collect();
        panic!("{name} fails with {hex}");
    }
}

#[test]
fn every_entry_survives_its_seeds_and_their_mutations() {
    let mut random = Random(0x5eed);
    for entry in ENTRIES {
        let mut seeds = seeds(entry.0);
        assert!(!seeds.is_empty(), "{} has no seeds", entry.0);
        seeds.iter().for_each(|seed| run(entry, seed));
        seeds.push(Vec::new());
        for _ in 0..mutations(entry.0) {
            let other = random.below(seeds.len());
            let mut data = seeds[random.below(seeds.len())].clone();
            for _ in 0..=random.below(4) {
                mutate(&mut random, &mut data, &seeds[other]);
            }
            run(entry, &data);
        }
    }
}

/// Functions of the library that are made for a fuzzer.
fn declared(folder: &Path, found: &mut BTreeSet<String>) {
    for file in fs::read_dir(folder).expect("a folder of sources") {
        let path = file.expect("a file").path();
        if path.is_dir() {
            declared(&path, found);
        } else {
            let text = fs::read_to_string(&path).expect("a source file");
            let names = text.lines().filter_map(|line| line.strip_prefix("pub fn fuzz")?.split('(').next());
            found.extend(names.map(|name| format!("fuzz{name}")));
        }
    }
}

#[test]
fn every_fuzz_function_has_an_entry_and_every_entry_a_target() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut functions = BTreeSet::new();
    declared(&root.join("src"), &mut functions);
    let list = fs::read_to_string(root.join("fuzz/src/lib.rs")).expect("the entries");
    let missing: Vec<_> = functions.iter().filter(|name| !list.contains(name.as_str())).collect();
    assert!(functions.len() > 15 && missing.is_empty(), "no entry for {missing:?}");
    let targets: BTreeSet<String> = fs::read_dir(root.join("fuzz/fuzz_targets"))
        .expect("the targets")
        .map(|file| file.expect("a target").path().file_stem().expect("a name").to_string_lossy().into_owned())
        .collect();
    assert_eq!(targets, ENTRIES.map(|(name, _)| name.to_owned()).into());
    let manifest = fs::read_to_string(root.join("fuzz/Cargo.toml")).expect("the manifest");
    assert!(targets.iter().all(|name| manifest.contains(&format!("\nname = \"{name}\"\n"))));
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = text.trim_start_matches('-').as_bytes().chunks_exact(2);
    digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).expect("ascii"), 16).expect("hex")).collect()
}

/// Lines of a vector file by name: the last word of each.
fn vectors(file: &str) -> BTreeMap<String, String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(file);
    let text = fs::read_to_string(path).expect("a vector file");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let named = lines.map(|line| {
        let words: Vec<&str> = line.split(' ').collect();
        let name = if matches!(words[0], "ok" | "bad" | "skip") { words[1] } else { words[0] };
        (name.to_owned(), words[words.len() - 1].to_owned())
    });
    named.collect()
}

/// Seeds out of the vectors, by entry and name.
fn seeds_of_vectors() -> Vec<(&'static str, String, Vec<u8>)> {
    let mut seeds = Vec::new();
    let whole = [
        ("claim", "claim.txt"),
        ("features", "features.txt"),
        ("frames", "session.txt"),
        ("header", "frames.txt"),
        ("control", "control.txt"),
        ("key_file", "keyfile.txt"),
    ];
    for (entry, file) in whole {
        seeds.extend(vectors(file).into_iter().map(|(name, hex)| (entry, name, unhex(&hex))));
    }
    for (name, id) in vectors("ids.txt") {
        seeds.push(("peer_id", name.clone(), id.clone().into_bytes()));
        seeds.push(("address", name.clone(), format!("{id}:pg").into_bytes()));
        seeds.push(("peers", name.clone(), format!("# peers\ndepot {id} circuits=2 rate=1M\n").into_bytes()));
        seeds.push(("relays", name, format!("tcp://{id}@relay.example.com:4433 # home\n").into_bytes()));
    }
    seeds.push(("address", "petname".to_owned(), b"a:drop".to_vec()));
    for (name, hex) in vectors("join.txt").into_iter().filter(|(name, _)| name.starts_with("join-") || name == "join") {
        let payload = unhex(&hex);
        seeds.push(("acks", name.clone(), payload.get(4..).unwrap_or_default().to_vec()));
        seeds.push(("session_join", name, payload));
    }
    for (name, hex) in vectors("transfer.txt") {
        // One piece, and pieces of three bytes.
        seeds.push(("transfer", name.clone(), [vec![255], unhex(&hex)].concat()));
        seeds.push(("transfer", format!("{name}-in-pieces"), [vec![2], unhex(&hex)].concat()));
    }
    for (name, hex) in vectors("session.txt") {
        let frame = unhex(&hex);
        let length = u8::try_from(frame.len()).expect("short");
        seeds.push(("session_peer", name, [&[length][..], &frame, &[255]].concat()));
    }
    for (name, hex) in vectors("websocket.txt") {
        match name.as_str() {
            "request" | "answer" => seeds.push(("http", name, unhex(&hex))),
            // At a client, and else at a relay; cut into three bytes each.
            _ => seeds.push((
                "websocket",
                name.clone(),
                [vec![u8::from(name == "relay-hello"), 3], unhex(&hex)].concat(),
            )),
        }
    }
    for (name, hex) in vectors("requests.txt") {
        let bytes = unhex(&hex);
        match u8::try_from(bytes.len()) {
            _ if name.ends_with("-answer") => seeds.push(("asking", name, [vec![3], bytes].concat())),
            Ok(length) => seeds.push(("requests", name, [vec![1, length], bytes].concat())),
            Err(_) => {}
        }
    }
    let link = vectors("link-worked.txt");
    let bytes = |name: &str| unhex(&link[name]);
    seeds.push(("answer", "first-flight".to_owned(), bytes("client_flight_1")));
    seeds.push(("answer", "both-flights".to_owned(), [bytes("client_flight_1"), bytes("client_flight_2")].concat()));
    seeds.push(("card", "card".to_owned(), bytes("resp_card")));
    for (choice, message) in [(0, "message_1"), (2, "message_2"), (4, "message_3")] {
        seeds.push(("handshake", message.to_owned(), [vec![choice], bytes(message)].concat()));
    }
    let join = vectors("handshake-join-aesgcm.txt");
    for (choice, message) in [(0, "message_1"), (2, "message_2")] {
        seeds.push(("join", message.to_owned(), [vec![choice], unhex(&join[message])].concat()));
    }
    let (ek, ct) = (bytes("kem_encapsulation_key"), bytes("kem_ciphertext"));
    let mut hello = [ek, vec![4, 0], b"caps".to_vec()].concat();
    hello.resize(1615 - 48, 0);
    seeds.push(("payload", "hello".to_owned(), hello));
    seeds.push(("payload", "reply".to_owned(), [ct, bytes("resp_card"), vec![1, 0, b'c']].concat()));
    seeds.push(("payload", "final".to_owned(), [bytes("secret"), bytes("init_card"), vec![0, 0]].concat()));
    seeds
}

#[test]
fn seeds_out_of_the_vectors_are_in_the_tree() {
    for (entry, name, bytes) in seeds_of_vectors() {
        let file = corpus(entry).join(&name);
        if std::env::var_os("BLESS").is_some() {
            fs::create_dir_all(corpus(entry)).expect("the corpus is writable");
            fs::write(&file, &bytes).expect("the corpus is writable");
        }
        assert_eq!(fs::read(&file).ok(), Some(bytes), "{entry}/{name}; BLESS=1 writes it");
    }
}
