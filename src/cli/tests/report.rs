//! What is said, to whom, and when.

use super::*;
use crate::cli::events::{Party, Transfer};
use std::sync::Arc;

#[derive(Clone, Default)]
struct Page(Arc<Mutex<Vec<u8>>>);

/// What is written shows when it is flushed.
struct Late(Page, Vec<u8>);

impl Write for Late {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.1.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.write_all(&std::mem::take(&mut self.1))
    }
}

impl Write for Page {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Debug)]
struct Wrapped(io::Error);

impl fmt::Display for Wrapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the list cannot be read")
    }
}

impl Error for Wrapped {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

fn said(verbosity: Verbosity, format: Format, talk: impl FnOnce(&Report)) -> String {
    let page = Page::default();
    talk(&Report::to("vp-test", verbosity, format, Box::new(page.clone())));
    let bytes = page.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
    String::from_utf8(bytes).expect("text")
}

fn all_levels(report: &Report) {
    report.fault(&Fault::new(Exit::PeerAbsent, "depot is not there").hint("start vp-recv there"));
    report.say(Level::Warning, "w");
    report.say(Level::Info, "i");
    report.say(Level::Debug, "d");
    report.event(&Event::Ready);
}

#[test]
fn each_verbosity_adds_to_the_one_before() {
    let error = "vp-test: error: depot is not there\nvp-test: hint: start vp-recv there\n";
    let normal = format!("{error}vp-test: warning: w\n");
    let verbose = format!("{normal}vp-test: info: i\n");
    assert_eq!(said(Verbosity::Quiet, Format::Text, all_levels), error);
    assert_eq!(said(Verbosity::Normal, Format::Text, all_levels), normal);
    assert_eq!(said(Verbosity::Verbose, Format::Text, all_levels), verbose);
    assert!(said(Verbosity::Debug, Format::Text, all_levels).contains("vp-test: debug: d\n"));
}

#[test]
fn json_lines_carry_code_and_retry() {
    let lines = said(Verbosity::Normal, Format::Json, all_levels);
    let first: serde_json::Value = serde_json::from_str(lines.lines().next().expect("a line")).expect("JSON");
    assert_eq!(first["event"], "error");
    assert_eq!(first["tool"], "vp-test");
    assert_eq!(first["code"], 5);
    assert_eq!(first["retryable"], true);
    assert_eq!(first["hints"][0], "start vp-recv there");
    assert!(lines.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()));
    assert_eq!(lines.lines().count(), 3, "{lines}");
}

#[test]
fn a_forgotten_escape_still_cannot_forge_a_line() {
    let text = said(Verbosity::Normal, Format::Text, |report| {
        report.say(Level::Warning, "a\nvp-test: error: forged\x1b[2J");
    });
    assert_eq!(text, "vp-test: warning: a\\x0avp-test: error: forged\\x1b[2J\n");
}

#[test]
fn a_fault_about_a_file_has_path_error_and_cause() {
    let missing = io::Error::from_raw_os_error(2);
    let fault = Fault::about(Exit::Config, Path::new("/a\nb"), &missing);
    assert_eq!(fault.message, "/a\\x0ab: no such file or directory");
    let wrapped = io::Error::other(Wrapped(io::Error::from_raw_os_error(13)));
    assert_eq!(chain(&wrapped), "the list cannot be read: permission denied");
}

#[test]
fn the_end_is_the_status_and_is_said_once() {
    let fault = Fault::new(Exit::Config, "no key");
    let text = said(Verbosity::Quiet, Format::Text, |report| {
        assert_eq!(report.end(Err(fault)), ExitCode::from(3));
        assert_eq!(report.end(Ok(Exit::Done)), ExitCode::SUCCESS);
    });
    assert_eq!(text, "vp-test: error: no key\n");
}

#[test]
fn at_the_end_all_lines_are_out_whoever_still_holds_what_they_go_to() {
    let page = Page::default();
    let late = Box::new(Late(page.clone(), Vec::new()));
    let report = Arc::new(Report::to("vp-test", Verbosity::Normal, Format::Text, late));
    let _held = Arc::clone(&report);
    report.say(Level::Warning, "last");
    assert!(page.0.lock().unwrap().is_empty());
    report.end(Ok(Exit::Done));
    assert_eq!(*page.0.lock().unwrap(), b"vp-test: warning: last\n");
}

#[test]
fn the_last_event_has_the_status_and_the_sums() {
    let transfer = |committed, failed| {
        let party = Party { peer: Some("depot".to_owned()), ..Party::default() };
        let (exists, refused, left_out, bytes, result, duration) = (1, 0, 0, 10, "complete", 1.0);
        let (reason, cause) = (None, None);
        let transfer =
            Transfer { party, committed, exists, refused, failed, left_out, bytes, result, reason, cause, duration };
        Event::Transfer(transfer)
    };
    let lines = said(Verbosity::Quiet, Format::Json, |report| {
        report.event(&transfer(3, 0));
        report.event(&transfer(0, 2));
        assert_eq!(report.end(Ok(Exit::Partial)), ExitCode::from(7));
    });
    let last: serde_json::Value = serde_json::from_str(lines.lines().last().expect("a line")).expect("JSON");
    let numbers = ["code", "items", "items_failed", "connections", "bytes"].map(|field| last[field].as_u64());
    assert_eq!(numbers, [7, 5, 2, 0, 20].map(Some), "{last}");
    assert_eq!((&last["event"], &last["peer"], &last["retryable"]), (&"end".into(), &"depot".into(), &true.into()));
    assert_eq!(last["cause"], "partial");
}
