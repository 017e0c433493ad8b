//! What `--json` prints: one object a line for each thing that happens. Names and fields stay as they are once they were
//! released; `vp-events(7)` describes them, and a test compares that page with what is here.
//!
//! A field that has no value is null, so that every event of a name has the same fields.

use std::time::{Duration, SystemTime};

use serde::Serialize;

use super::json;

/// The peer and the application that an event is about.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Party {
    /// The petname, or the id of a peer that has none.
    pub peer: Option<String>,
    /// The id.
    pub peer_id: Option<String>,
    /// The application.
    pub application: Option<String>,
}

/// One event.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub(crate) enum Event {
    /// A relay has taken this tool in.
    RelayUp { relay: String },
    /// It is gone, or did not take it in.
    RelayDown { relay: String, reason: String },
    /// Callers of an application find this tool.
    Attached { application: String },
    /// The peer is not there yet.
    Waiting(Party),
    /// A session with the peer is up.
    Connected(Party),
    /// It has no path any more.
    Lost(Party),
    /// It has one again.
    Resumed(Party),
    /// Somebody called who may not.
    TurnedAway {
        /// How often since this was last told.
        times: u64,
        #[serde(flatten)]
        party: Party,
    },
    /// An import listens.
    Listening {
        address: String,
        #[serde(flatten)]
        party: Party,
    },
    /// An export can be reached.
    Serving { application: String, target: String },
    /// Everything that was asked for is there.
    Ready,
    /// One part of the way that `check` looked at.
    Hop { hop: String, result: String },
    /// One item came to its end.
    Item(Item),
    /// Something that lies in what is sent is left out.
    LeftOut(LeftOut),
    /// One item would be sent.
    Planned(Planned),
    /// One transfer came to its end.
    Transfer(Transfer),
    /// One connection, or one session of `vp-attach`, came to its end.
    Connection(Connection),
    /// How it stands, for who asked by SIGUSR1.
    Status(Box<Status>),
    /// Somebody should look.
    Warning { message: String },
    /// What to do about the warning before it.
    Hint { message: String },
    /// What takes a while, or has come to an end; with `-v`, more.
    Info { message: String },
    /// With `-vv`.
    Debug { message: String },
    /// Why the tool fails.
    Error { code: u8, message: String, hints: Vec<String>, retryable: Option<bool> },
    /// The last one.
    End(Summary),
}

/// See [`Event::Item`].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Item {
    #[serde(flatten)]
    pub party: Party,
    /// Its path below what the sender named; see [`file_name`]. None of a stream without a name.
    pub file: Option<String>,
    /// `file`, `directory`, `link` or `stream`.
    pub kind: Option<&'static str>,
    /// Length of its content.
    pub bytes: u64,
    /// BLAKE3 of the content, hex, of what is at both ends.
    pub hash: Option<String>,
    /// The last name that it got at the receiver, if that is another.
    pub renamed: Option<String>,
    /// `committed`, `exists`, `refused` or `failed`.
    pub result: &'static str,
    /// Why it was refused or failed.
    pub reason: Option<String>,
    /// The same in one word.
    pub cause: Option<&'static str>,
    /// Seconds.
    pub duration: f64,
}

/// See [`Event::LeftOut`].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct LeftOut {
    #[serde(flatten)]
    pub party: Party,
    /// Its path, as of an item.
    pub file: String,
    /// Why.
    pub reason: &'static str,
    /// The same in one word.
    pub cause: &'static str,
}

/// See [`Event::Planned`].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Planned {
    /// The path that it would have at the receiver, as of an item.
    pub file: String,
    /// `file`, `directory` or `link`.
    pub kind: &'static str,
    /// Length of its content.
    pub bytes: u64,
}

/// See [`Event::Transfer`].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Transfer {
    #[serde(flatten)]
    pub party: Party,
    /// Items that came and are where they belong.
    pub committed: u64,
    /// Items that were there before.
    pub exists: u64,
    /// Items that the receiver did not take.
    pub refused: u64,
    /// Items that went wrong.
    pub failed: u64,
    /// Items that could not be offered.
    pub left_out: u64,
    /// Content that was moved.
    pub bytes: u64,
    /// `complete` or `failed`.
    pub result: &'static str,
    /// Why it failed.
    pub reason: Option<String>,
    /// The same in one word.
    pub cause: Option<&'static str>,
    /// Seconds.
    pub duration: f64,
}

/// See [`Event::Connection`].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Connection {
    #[serde(flatten)]
    pub party: Party,
    /// Bytes to the peer.
    pub bytes_sent: u64,
    /// Bytes of the peer.
    pub bytes_received: u64,
    /// `complete` or `reset`.
    pub result: &'static str,
    /// Why it was reset, where that is known.
    pub reason: Option<String>,
    /// The same in one word.
    pub cause: Option<&'static str>,
    /// Seconds.
    pub duration: f64,
}

/// See [`Event::Status`].
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Status {
    /// What a person would read.
    pub message: String,
    #[serde(flatten)]
    pub party: Party,
    /// The item under way.
    pub file: Option<String>,
    /// Items that are settled.
    pub items: Option<u64>,
    /// Of so many.
    pub items_total: Option<u64>,
    /// Bytes that are dealt with.
    pub bytes: Option<u64>,
    /// Of so many.
    pub bytes_total: Option<u64>,
    /// How fast they move.
    pub bytes_per_second: Option<u64>,
    /// How long the rest takes at that pace.
    pub seconds_left: Option<u64>,
    /// Connections that are open.
    pub connections: Option<u64>,
    /// Connections since the start.
    pub connections_total: Option<u64>,
}

/// See [`Event::End`]: sums over the transfers and connections of the whole run.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Summary {
    /// The exit status.
    pub code: u8,
    /// Why it is no success, in one word.
    pub cause: Option<&'static str>,
    /// Whether the same command may help.
    pub retryable: Option<bool>,
    /// Whom it was about last.
    #[serde(flatten)]
    pub party: Party,
    /// Items that are where they belong.
    pub items: u64,
    /// Items that are not.
    pub items_failed: u64,
    /// Connections that ended.
    pub connections: u64,
    /// Content that was moved, both ways.
    pub bytes: u64,
    /// Seconds since the tool began.
    pub duration: f64,
}

impl Summary {
    /// Counts an event that belongs into the sums.
    pub(crate) fn count(&mut self, event: &Event) {
        match event {
            Event::Waiting(party) | Event::Connected(party) => self.party = party.clone(),
            Event::Transfer(transfer) => {
                self.party = transfer.party.clone();
                self.items += transfer.committed + transfer.exists;
                self.items_failed += transfer.refused + transfer.failed + transfer.left_out;
                self.bytes += transfer.bytes;
            }
            Event::Connection(connection) => {
                self.party = connection.party.clone();
                self.connections += 1;
                self.bytes += connection.bytes_sent + connection.bytes_received;
            }
            _ => {}
        }
    }
}

/// An event as it is written.
#[derive(Serialize)]
struct Line<'a> {
    time: String,
    tool: &'a str,
    #[serde(flatten)]
    event: &'a Event,
}

/// The line for an event of this tool that happens now.
pub(super) fn line(tool: &str, event: &Event) -> String {
    json::line(&Line { time: humantime::format_rfc3339_millis(SystemTime::now()).to_string(), tool, event })
}

/// Seconds with milliseconds.
pub(super) fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1000.0).round() / 1000.0
}

/// A path or a name, any bytes, as text from which they can be had again: a backslash is doubled, and a byte that is not
/// part of UTF-8 text is `\x` and two hex digits.
pub(super) fn file_name(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(&chunk.valid().replace('\\', "\\\\"));
        chunk.invalid().iter().for_each(|byte| text.push_str(&format!("\\x{byte:02x}")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const PAGE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/man/src/vp-events.roff"));

    /// Says which one it is: does not compile while one has no number, so that none is forgotten below.
    fn number(event: &Event) -> usize {
        match event {
            Event::RelayUp { .. } => 0,
            Event::RelayDown { .. } => 1,
            Event::Attached { .. } => 2,
            Event::Waiting(_) => 3,
            Event::Connected(_) => 4,
            Event::Lost(_) => 5,
            Event::Resumed(_) => 6,
            Event::TurnedAway { .. } => 7,
            Event::Listening { .. } => 8,
            Event::Serving { .. } => 9,
            Event::Ready => 10,
            Event::Hop { .. } => 11,
            Event::Item(_) => 12,
            Event::Transfer(_) => 13,
            Event::Connection(_) => 14,
            Event::Status(_) => 15,
            Event::Warning { .. } => 16,
            Event::Info { .. } => 17,
            Event::Debug { .. } => 18,
            Event::Error { .. } => 19,
            Event::End(_) => 20,
            Event::Hint { .. } => 21,
            Event::LeftOut(_) => 22,
            Event::Planned(_) => 23,
        }
    }

    fn one_of_each() -> Vec<Event> {
        let (text, party) = (String::new, Party::default);
        let item = Item {
            party: party(),
            file: None,
            kind: None,
            bytes: 0,
            hash: None,
            renamed: None,
            result: "failed",
            reason: None,
            cause: None,
            duration: 0.0,
        };
        let transfer = Transfer {
            party: party(),
            committed: 0,
            exists: 0,
            refused: 0,
            failed: 0,
            left_out: 0,
            bytes: 0,
            result: "failed",
            reason: None,
            cause: None,
            duration: 0.0,
        };
        let connection = Connection {
            party: party(),
            bytes_sent: 0,
            bytes_received: 0,
            result: "reset",
            reason: None,
            cause: None,
            duration: 0.0,
        };
        vec![
            Event::RelayUp { relay: text() },
            Event::RelayDown { relay: text(), reason: text() },
            Event::Attached { application: text() },
            Event::Waiting(party()),
            Event::Connected(party()),
            Event::Lost(party()),
            Event::Resumed(party()),
            Event::TurnedAway { times: 1, party: party() },
            Event::Listening { address: text(), party: party() },
            Event::Serving { application: text(), target: text() },
            Event::Ready,
            Event::Hop { hop: text(), result: text() },
            Event::Item(item),
            Event::Transfer(transfer),
            Event::Connection(connection),
            Event::Status(Box::default()),
            Event::Warning { message: text() },
            Event::Info { message: text() },
            Event::Debug { message: text() },
            Event::Error { code: 1, message: text(), hints: Vec::new(), retryable: None },
            Event::End(Summary::default()),
            Event::Hint { message: text() },
            Event::LeftOut(LeftOut { party: party(), file: text(), reason: "", cause: "" }),
            Event::Planned(Planned { file: text(), kind: "file", bytes: 0 }),
        ]
    }

    /// The events of the manual page with their fields: `.B NAME` behind `.TP`, then a line of fields.
    fn documented() -> BTreeMap<String, Vec<String>> {
        let (_, list) = PAGE.split_once(".SH EVENTS\n").expect("the list");
        let list = list.split(".SH ").next().expect("it ends");
        let events = list.split(".TP\n.B ").skip(1).map(|entry| {
            let (name, rest) = entry.split_once('\n').expect("a name has a line of its own");
            let fields = rest.lines().next().and_then(|line| line.strip_prefix(".I "));
            let fields = fields.map(|fields| fields.replace('\\', "").split(' ').map(str::to_owned).collect());
            (name.replace('\\', ""), fields.unwrap_or_default())
        });
        events.collect()
    }

    #[test]
    fn the_manual_page_lists_every_event_with_its_fields_and_no_other() {
        let events = one_of_each();
        assert!(events.iter().map(number).eq(0..events.len()));
        let mut emitted = BTreeMap::new();
        for event in &events {
            let object: serde_json::Value = serde_json::from_str(&line("vp-test", event)).expect("JSON");
            let object = object.as_object().expect("an object");
            let name = object["event"].as_str().expect("a name").to_owned();
            let common = ["time", "tool", "event"];
            let fields: Vec<String> = object.keys().filter(|key| !common.contains(&&key[..])).cloned().collect();
            emitted.insert(name, fields);
        }
        let sorted = |(name, mut fields): (String, Vec<String>)| {
            fields.sort();
            (name, fields)
        };
        let documented: Vec<_> = documented().into_iter().map(sorted).collect();
        let emitted: Vec<_> = emitted.into_iter().map(sorted).collect();
        assert_eq!(documented, emitted);
    }

    #[test]
    fn a_line_begins_with_its_time_in_utc() {
        let line = line("vp-test", &Event::Ready);
        let object: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        let time = object["time"].as_str().expect("a time");
        assert!(humantime::parse_rfc3339(time).is_ok() && time.ends_with('Z') && time.len() == 24, "{time}");
        assert!(
            line.starts_with("{\"time\":\"") && line.ends_with("\"tool\":\"vp-test\",\"event\":\"ready\"}"),
            "{line}"
        );
    }

    proptest! {
        #[test]
        fn the_bytes_of_any_name_can_be_had_again(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let mut back = Vec::new();
            let text = file_name(&bytes);
            let mut rest = text.as_bytes();
            while let Some((first, tail)) = rest.split_first() {
                rest = match (first, tail) {
                    (b'\\', [b'\\', tail @ ..]) => {
                        back.push(b'\\');
                        tail
                    }
                    (b'\\', [b'x', high, low, tail @ ..]) => {
                        let digits = [*high, *low];
                        let digits = std::str::from_utf8(&digits).expect("hex digits");
                        back.push(u8::from_str_radix(digits, 16).expect("hex digits"));
                        tail
                    }
                    _ => {
                        back.push(*first);
                        tail
                    }
                };
            }
            prop_assert_eq!(back, bytes);
        }
    }
}
