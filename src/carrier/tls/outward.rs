//! What goes out on TLS: records on their way to the kernel, and how many bytes of them are the link's.

use std::collections::VecDeque;
use std::io::IoSlice;

/// Memory that is kept for more, bytes: what is sealed in less is as soon had anew.
const KEPT_MIN: usize = 4 * 1024;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Outward {
    /// Wire bytes, in order, and room behind them. A connection that says much keeps it: each time anew it would be memory that the
    /// system has to clear. When it says little, as an idle one does, it is let go of.
    sealed: Vec<u8>,
    /// What was sealed last was little.
    was_little: bool,
    /// Bytes of it that are sealed.
    filled: usize,
    /// Bytes of those that are gone.
    gone: usize,
    /// Where the last change of keys ends among them, if it is not gone.
    change: usize,
    /// Those of the records in it that have something of what is inside.
    records: VecDeque<Record>,
    close: Closing,
}

#[derive(Clone, Copy, Debug)]
struct Record {
    /// Where it ends among the wire bytes.
    end: usize,
    /// Bytes of what is inside, in it.
    content: usize,
    /// Bytes of the link among those, which count when the last of the record is gone.
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
    /// Whether all of it is gone.
    pub(super) fn is_empty(&self) -> bool {
        self.gone == self.filled
    }

    /// So many bytes are to follow: room for them is made, and none is kept for many more.
    pub(super) fn expect(&mut self, bytes: usize) {
        let is_little = bytes <= KEPT_MIN;
        // The end of much is little once.
        if is_little && self.was_little && self.is_empty() {
            self.sealed = Vec::new();
        }
        self.was_little = is_little;
        self.room(bytes);
    }

    /// Where so many bytes can go next.
    pub(super) fn room(&mut self, bytes: usize) -> &mut [u8] {
        let end = self.filled + bytes;
        if self.sealed.len() < end {
            self.sealed.reserve_exact(end - self.sealed.len());
            self.sealed.resize(end, 0);
        }
        &mut self.sealed[self.filled..end]
    }

    /// So many bytes went there, and are a record with so many of what is inside, of which none is the link's until
    /// [`Outward::count`].
    pub(super) fn end_record(&mut self, bytes: usize, content: usize) {
        self.filled += bytes;
        if content > 0 {
            self.records.push_back(Record { end: self.filled, content, link: 0 });
        }
    }

    /// These bytes go out next.
    pub(super) fn say(&mut self, words: &[u8]) {
        self.room(words.len()).copy_from_slice(words);
        self.filled += words.len();
    }

    /// What was sealed last says that our keys change.
    pub(super) fn note_change(&mut self) {
        self.change = self.filled;
    }

    /// Whether such a change is yet to go out.
    pub(super) fn has_change(&self) -> bool {
        self.gone < self.change
    }

    /// Asks of each record how many bytes of its content are the link's.
    pub(super) fn count(&mut self, mut link: impl FnMut(usize) -> usize) {
        self.records.iter_mut().for_each(|record| record.link = link(record.content));
    }

    /// All of it that is left.
    pub(super) fn show<'a>(&'a self, wire: &mut [IoSlice<'a>]) -> usize {
        if self.is_empty() {
            return 0;
        }
        wire[0] = IoSlice::new(&self.sealed[self.gone..self.filled]);
        1
    }

    /// The kernel took so many bytes; how many of the link's are gone with them.
    pub(super) fn handle_written(&mut self, count: usize) -> usize {
        self.gone = self.filled.min(self.gone + count);
        let mut link = 0;
        while let Some(record) = self.records.pop_front_if(|record| record.end <= self.gone) {
            link += record.link;
        }
        if self.is_empty() {
            (self.filled, self.gone, self.change) = (0, 0, 0);
            if self.sealed.len() <= KEPT_MIN {
                (self.sealed, self.records) = (Vec::new(), VecDeque::new());
            }
        }
        link
    }

    /// The memory it keeps, bytes.
    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        self.sealed.capacity()
    }

    /// The link is no more. What was sealed has its place in the order of records, and goes out as nobody's.
    pub(super) fn let_go(&mut self) {
        self.records.iter_mut().for_each(|record| record.link = 0);
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
