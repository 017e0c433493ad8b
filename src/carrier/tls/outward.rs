//! What goes out on TLS: sealed bytes on their way to the kernel, and how many of them are the link's.

use std::collections::VecDeque;
use std::io::IoSlice;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Outward {
    /// Wire bytes, in order.
    sealed: Vec<u8>,
    /// Bytes of those that are gone.
    gone: usize,
    /// Those of the records in it that have something of the link.
    records: VecDeque<Record>,
    close: Closing,
}

#[derive(Clone, Copy, Debug)]
struct Record {
    /// Where it ends among the wire bytes.
    end: usize,
    /// Bytes of the link in it.
    link: usize,
}

/// Whether it has said that nothing follows.
#[derive(Debug, Default, PartialEq, Eq)]
enum Closing {
    #[default]
    No,
    Due,
    Said,
}

impl Outward {
    /// Where to put what goes out next.
    pub(super) fn room(&mut self) -> &mut Vec<u8> {
        &mut self.sealed
    }

    /// Whether all of it is gone.
    pub(super) fn is_empty(&self) -> bool {
        self.gone == self.sealed.len()
    }

    /// What was put there last ends a record that has so many bytes of the link.
    pub(super) fn end_record(&mut self, link: usize) {
        self.records.push_back(Record { end: self.sealed.len(), link });
    }

    /// All of it that is left.
    pub(super) fn show<'a>(&'a self, wire: &mut [IoSlice<'a>]) -> usize {
        if self.is_empty() {
            return 0;
        }
        wire[0] = IoSlice::new(&self.sealed[self.gone..]);
        1
    }

    /// The kernel took so many bytes; how many of the link's are gone with them.
    pub(super) fn handle_written(&mut self, count: usize) -> usize {
        self.gone = self.sealed.len().min(self.gone + count);
        let mut link = 0;
        while let Some(record) = self.records.pop_front_if(|record| record.end <= self.gone) {
            link += record.link;
        }
        if self.is_empty() {
            // An idle connection keeps no memory for output.
            (self.sealed, self.gone) = (Vec::new(), 0);
            self.records = VecDeque::new();
        }
        link
    }

    /// The link is no more. What was sealed has its place in the order of records, and goes out as nobody's.
    pub(super) fn let_go(&mut self) {
        self.records.clear();
    }

    /// Is to say that nothing follows, if it has not.
    pub(super) fn close(&mut self) {
        if self.close == Closing::No {
            self.close = Closing::Due;
        }
    }

    /// Whether it is yet to say so.
    pub(super) fn is_closing(&self) -> bool {
        self.close == Closing::Due
    }

    /// The same, once.
    pub(super) fn take_close(&mut self) -> bool {
        let is_due = self.is_closing();
        if is_due {
            self.close = Closing::Said;
        }
        is_due
    }
}
