//! The peers file: `NAME ID [key=value ...]`, one peer a line, `#` comments; edited by hand like `/etc/hosts`.

use std::collections::BTreeMap;
use std::str::FromStr;

use super::app as name;
use super::lines::{self as parse, ParseError, ParseErrorKind, Word, lines, words};
use crate::identity::id::{PeerId, looks_like_id};

/// A line of the peers file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// What we call it; unique in the file.
    pub name: String,
    /// Who it is; one peer may have several names.
    pub id: PeerId,
    /// The options of the line, in its order. Clients know none; for a relay see [`Peer::limits`].
    pub options: Vec<PeerOption>,
}

/// One `key=value` of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerOption {
    /// Left of the first `=`; not empty, unique on its line.
    pub key: String,
    /// Right of it; not empty.
    pub value: String,
    line: usize,
    column: usize,
}

/// What a relay grants one peer. `None` means the relay's own default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PeerLimits {
    /// `circuits=N`: open circuits at a time.
    pub circuits: Option<u32>,
    /// `rate=SIZE`: bytes a second, at least 1.
    pub rate: Option<u64>,
    /// `links=N`: links at a time.
    pub links: Option<u32>,
}

impl Peer {
    /// Whether another line says the same, wherever it stands.
    fn says_what(&self, other: &Self) -> bool {
        let words = |peer: &Self| -> Vec<(String, String)> {
            peer.options.iter().map(|option| (option.key.clone(), option.value.clone())).collect()
        };
        self.id == other.id && words(self) == words(other)
    }

    /// The options as a relay reads them.
    ///
    /// # Errors
    /// An unknown key or a value of the wrong kind, with its place in the file.
    pub fn limits(&self) -> Result<PeerLimits, ParseError> {
        let mut limits = PeerLimits::default();
        for option in &self.options {
            match option.key.as_str() {
                "circuits" => limits.circuits = Some(option.read(number)?),
                "links" => limits.links = Some(option.read(number)?),
                "rate" => limits.rate = Some(option.read(size)?),
                _ => return Err(option.error(0, ParseErrorKind::UnknownOption)),
            }
        }
        Ok(limits)
    }
}

impl PeerOption {
    fn read<T>(&self, parse: impl Fn(&str) -> Option<T>) -> Result<T, ParseError> {
        let value_at = self.key.chars().count() + 1;
        parse(&self.value).ok_or_else(|| self.error(value_at, ParseErrorKind::BadValue))
    }

    fn error(&self, offset: usize, kind: ParseErrorKind) -> ParseError {
        ParseError { line: self.line, column: self.column + offset, kind }
    }
}

/// Digits only: no sign, no spaces.
fn number<T: FromStr>(text: &str) -> Option<T> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// An amount of bytes that is not zero.
fn size(text: &str) -> Option<u64> {
    super::size::size(text).ok().filter(|size| *size > 0)
}

/// The peers file: who is known, by name and by id.
///
/// Finding a peer takes logarithmic time; a file of 10,000 peers is an ordinary one for a relay. The text is taken as
/// a whole: its size is for whoever reads the file to bound.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Peers {
    peers: Vec<Peer>,
    by_name: BTreeMap<String, usize>,
    by_id: BTreeMap<PeerId, usize>,
    conflicts: Vec<Conflict>,
    place: Option<String>,
    absence: Option<String>,
}

/// Two lines that say different things of one name: nobody is called that until one of them goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The name.
    pub name: String,
    /// The first of the lines, from 1.
    pub first_line: usize,
    /// The first that differs from it.
    pub line: usize,
}

impl Peers {
    /// Reads a whole file.
    ///
    /// # Errors
    /// The first mistake, with line and column.
    pub fn read(bytes: &[u8]) -> Result<Self, ParseError> {
        parse::text(bytes).map_err(ParseError::not_text).and_then(Self::parse)
    }

    /// The same, of a file that is known to be text.
    ///
    /// # Errors
    /// The first mistake, with line and column.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let mut found: Vec<(usize, Peer)> = Vec::new();
        let mut first_of: BTreeMap<String, usize> = BTreeMap::new();
        let mut conflicts: BTreeMap<String, Conflict> = BTreeMap::new();
        for (line, content) in lines(text) {
            let peer = parse_line(line, content)?;
            match first_of.get(&peer.name).map(|index| &found[*index]) {
                // Typed or appended twice.
                Some((_, first)) if first.says_what(&peer) => {}
                Some((first_line, _)) => {
                    let conflict = Conflict { name: peer.name.clone(), first_line: *first_line, line };
                    conflicts.entry(peer.name).or_insert(conflict);
                }
                None => {
                    first_of.insert(peer.name.clone(), found.len());
                    found.push((line, peer));
                }
            }
        }
        let mut peers = Self::default();
        for (_, peer) in found.into_iter().filter(|(_, peer)| !conflicts.contains_key(&peer.name)) {
            let index = peers.peers.len();
            peers.by_name.insert(peer.name.clone(), index);
            peers.by_id.entry(peer.id).or_insert(index);
            peers.peers.push(peer);
        }
        peers.conflicts = conflicts.into_values().collect();
        Ok(peers)
    }

    /// The same, with the name of the file, for those who look in it for what it does not have.
    #[must_use]
    pub fn of_file(self, place: String) -> Self {
        Self { place: Some(place), ..self }
    }

    /// Nobody, because there is no file; where none is, is for those who look for what it does not have.
    #[must_use]
    pub fn absent(absence: String) -> Self {
        Self { absence: Some(absence), ..Self::default() }
    }

    /// Where there is no file, in words.
    #[must_use]
    pub(crate) fn absence(&self) -> &str {
        self.absence.as_deref().unwrap_or("there is no peers file")
    }

    /// The name of the file.
    #[must_use]
    pub fn place(&self) -> Option<&str> {
        self.place.as_deref()
    }

    /// Names that two lines say different things of.
    #[must_use]
    pub(crate) fn conflicts(&self) -> &[Conflict] {
        &self.conflicts
    }

    /// The peer of this name.
    #[must_use]
    pub(crate) fn by_name(&self, name: &str) -> Option<&Peer> {
        self.by_name.get(name).map(|index| &self.peers[*index])
    }

    /// The first line with this id.
    #[must_use]
    pub(crate) fn by_id(&self, id: &PeerId) -> Option<&Peer> {
        self.by_id.get(id).map(|index| &self.peers[*index])
    }

    /// Whether a line has this id.
    #[must_use]
    pub fn contains(&self, id: &PeerId) -> bool {
        self.by_id.contains_key(id)
    }

    /// All lines, in the order of the file.
    pub fn iter(&self) -> std::slice::Iter<'_, Peer> {
        self.peers.iter()
    }

    /// Lines with a peer.
    #[must_use]
    pub fn len(&self) -> usize {
        self.peers.len()
    }

    /// Whether the file names nobody.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.peers.is_empty()
    }
}

impl<'a> IntoIterator for &'a Peers {
    type Item = &'a Peer;
    type IntoIter = std::slice::Iter<'a, Peer>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// One line with something on it.
fn parse_line(line: usize, content: &str) -> Result<Peer, ParseError> {
    let fail = |column, kind| ParseError { line, column, kind };
    let end = content.trim_end().chars().count() + 1;
    let mut words = words(content);
    let name = words.next().unwrap_or(Word { column: end, text: "" });
    if looks_like_id(name.text) {
        return Err(fail(name.column, ParseErrorKind::NameLooksLikeId));
    }
    name::check(name.text).map_err(|error| fail(name.column + error.offset(), ParseErrorKind::BadName(error)))?;
    let id = words.next().ok_or_else(|| fail(end, ParseErrorKind::MissingId))?;
    let peer_id: PeerId = id
        .text
        .parse()
        .map_err(|error: crate::identity::CodeError| fail(id.column + error.offset(), ParseErrorKind::BadId(error)))?;
    let mut options: Vec<PeerOption> = Vec::new();
    for word in words {
        let (key, value) = word
            .text
            .split_once('=')
            .filter(|(key, value)| !key.is_empty() && !value.is_empty())
            .ok_or_else(|| fail(word.column, ParseErrorKind::BadOption))?;
        if options.iter().any(|option| option.key == key) {
            return Err(fail(word.column, ParseErrorKind::DuplicateOption));
        }
        options.push(PeerOption { key: key.into(), value: value.into(), line, column: word.column });
    }
    Ok(Peer { name: name.text.into(), id: peer_id, options })
}

/// Fuzz entry: an accepted file, printed line by line, is accepted again with the same peers.
#[doc(hidden)]
#[cfg(feature = "fuzzing")]
pub fn fuzz_peers(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let Ok(peers) = Peers::parse(text) else {
        return;
    };
    let mut again = String::new();
    for peer in &peers {
        let _ = peer.limits();
        again.push_str(&format!("{} {}", peer.name, peer.id));
        for option in &peer.options {
            again.push_str(&format!(" {}={}", option.key, option.value));
        }
        again.push('\n');
        assert!(peers.contains(&peer.id) && peers.by_name(&peer.name).is_some());
    }
    let again = Peers::parse(&again).expect("an accepted file stays acceptable");
    assert!(peers.iter().zip(&again).all(|(a, b)| a.name == b.name && a.id == b.id));
    assert_eq!(peers.len(), again.len());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::identity::CodeError;
    use crate::names::NameError;

    fn id(byte: u8) -> PeerId {
        PeerId::from_bytes([byte; 32])
    }

    fn error(text: &str) -> (usize, usize, ParseErrorKind) {
        let error = Peers::parse(text).expect_err("a mistake");
        (error.line, error.column, error.kind)
    }

    #[test]
    fn names_ids_options_and_comments() {
        let text = format!("# ours\ndepot {} circuits=8 rate=2M # tail\n\n\teast\t{}\r\n", id(1), id(2));
        let peers = Peers::parse(&text).expect("a good file");
        assert_eq!(peers.len(), 2);
        assert_eq!(peers.by_name("depot").map(|peer| peer.id), Some(id(1)));
        assert_eq!(peers.by_id(&id(2)).map(|peer| peer.name.as_str()), Some("east"));
        assert!(peers.contains(&id(1)) && !peers.contains(&id(3)));
        assert_eq!(peers.by_name("west"), None);
        let limits = peers.by_name("depot").expect("present").limits();
        let expected = PeerLimits { circuits: Some(8), rate: Some(2 << 20), links: None };
        assert_eq!(limits, Ok(expected));
    }

    #[test]
    fn one_id_may_have_two_names_and_the_first_is_found() {
        let peers = Peers::parse(&format!("a {}\nb {}\n", id(1), id(1))).expect("a good file");
        assert_eq!(peers.by_id(&id(1)).map(|peer| peer.name.as_str()), Some("a"));
        assert_eq!(peers.len(), 2);
    }

    #[test]
    fn every_mistake_has_its_place() {
        use ParseErrorKind as Kind;
        assert_eq!(error("depot"), (1, 6, Kind::MissingId));
        assert_eq!(error("\n de/pot x"), (2, 4, Kind::BadName(NameError::BadCharacter { at: 2 })));
        assert_eq!(error(&format!("{}", id(1))), (1, 1, Kind::NameLooksLikeId));
        assert_eq!(error(&format!("VP1x {}", id(1))), (1, 1, Kind::NameLooksLikeId));
        assert_eq!(error("a vq1x"), (1, 3, Kind::BadId(CodeError::WrongPrefix { expected: "vp" })));
        let broken = id(1).to_string().replacen("vp1", "vp1b", 1);
        let broken = &broken[..61];
        assert_eq!(error(&format!("a {broken}")), (1, 6, Kind::BadId(CodeError::BadCharacter { at: 3 })));
        assert_eq!(error(&format!("a {} open", id(1))), (1, 65, Kind::BadOption));
        assert_eq!(error(&format!("a {} =1", id(1))), (1, 65, Kind::BadOption));
        assert_eq!(error(&format!("a {} k=", id(1))), (1, 65, Kind::BadOption));
        assert_eq!(error(&format!("a {} k=1 k=2", id(1))), (1, 69, Kind::DuplicateOption));
    }

    #[test]
    fn a_line_that_is_repeated_is_one_and_lines_that_differ_spoil_their_name_alone() {
        let (one, two) = (id(1), id(2));
        let peers = Peers::parse(&format!("a {one}\nb {two} links=2\n\na {one}\nb  {two} links=2 # again\n"));
        assert_eq!(peers.map(|peers| (peers.len(), peers.conflicts().len())), Ok((2, 0)));
        let text = format!("# head\na {one}\nb {two}\na {two}\na {two}\nc {one} links=1\nc {one} links=2\n");
        let peers = Peers::parse(&text).expect("what is right in it");
        let conflict = |name: &str, first_line, line| Conflict { name: name.into(), first_line, line };
        assert_eq!(peers.conflicts(), [conflict("a", 2, 4), conflict("c", 6, 7)]);
        assert_eq!(peers.iter().map(|peer| peer.name.as_str()).collect::<Vec<_>>(), ["b"]);
        assert!(peers.by_name("a").is_none() && !peers.contains(&one));
    }

    #[test]
    fn limits_refuse_unknown_keys_and_odd_values() {
        let limits = |options: &str| {
            let peers = Peers::parse(&format!("a {} {options}", id(1))).expect("a good line");
            peers.by_name("a").expect("present").limits().map_err(|error| (error.column, error.kind))
        };
        assert_eq!(limits("speed=1"), Err((65, ParseErrorKind::UnknownOption)));
        for (option, column) in [("links=-1", 71), ("links=+1", 71), ("circuits=4294967296", 74)] {
            assert_eq!(limits(option), Err((column, ParseErrorKind::BadValue)), "{option}");
        }
        for option in ["rate=0", "rate=K", "rate=1x", "rate=1KK", "rate=16777216T", "rate=1é"] {
            assert_eq!(limits(option), Err((70, ParseErrorKind::BadValue)), "{option}");
        }
        assert_eq!(limits("rate=16777215T").map(|l| l.rate), Ok(Some(16_777_215 << 40)));
        assert_eq!(limits("links=0").map(|l| l.links), Ok(Some(0)));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".*") {
            fuzz_peers(text.as_bytes());
        }

        #[test]
        fn almost_good_files_do_not_panic(
            lines in proptest::collection::vec(("[a-c ]{0,4}", 0_u8..3, "( [a-z=#]{0,6}){0,3}"), 0..6),
        ) {
            let text: String = lines.iter().map(|(name, n, rest)| format!("{name} {}{rest}\n", id(*n))).collect();
            fuzz_peers(text.as_bytes());
        }
    }
}
