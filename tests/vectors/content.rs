//! Hashes of content with and without blank blocks.

use super::{Text, settle};
use vp::transfer::hash::ContentHash;

const BLOCK: usize = 65_536;

/// Content, which of its blocks are blank, and the rest of it.
type Case = (&'static str, &'static [(u64, u64)], &'static str);

/// Content in a few words: `x` is a block of the byte 78, `0` a blank one, and a number as many zeros.
fn content(words: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for word in words.split('.') {
        match word {
            "x" => bytes.resize(bytes.len() + BLOCK, 0x78),
            "0" => bytes.resize(bytes.len() + BLOCK, 0),
            count => bytes.resize(bytes.len() + count.parse::<usize>().expect("a number"), 0),
        }
    }
    bytes
}

/// The hash as the protocol defines it: which blocks are blank is told beside their content.
fn defined(runs: &[(u64, u64)], rest: &[u8]) -> [u8; 32] {
    let rest = *blake3::hash(rest).as_bytes();
    if runs.is_empty() {
        return rest;
    }
    let runs = runs.iter().flat_map(|(first, count)| [first.to_le_bytes(), count.to_le_bytes()].concat());
    let described: Vec<u8> = runs.chain(rest).collect();
    blake3::derive_key("vp transfer 1 content with blank blocks", &described)
}

#[test]
fn hashes_of_content() {
    let mut text = Text::default();
    text.comment(
        "Hashes of content: `ok CONTENT HASH`. Parts: x a block of 78, 0 a blank block, a number so many zeros.",
    );
    let cases: [Case; 7] = [
        ("2", &[], "2"),
        ("x.x", &[], "x.x"),
        ("x.65535", &[], "x.65535"),
        ("0", &[(0, 1)], ""),
        ("x.0.0.x", &[(1, 2)], "x.x"),
        ("0.x.0.7", &[(0, 1), (2, 1)], "x.7"),
        ("x.7.x.0", &[], "x.7.x.0"),
    ];
    for (words, runs, rest) in cases {
        let rest = if rest.is_empty() { Vec::new() } else { content(rest) };
        let expected = defined(runs, &rest);
        let mut hash = ContentHash::default();
        hash.update(&content(words));
        assert_eq!(hash.hash(), expected, "{words}");
        text.ok(words, &expected);
    }
    settle("content.txt", &text.0);
}
