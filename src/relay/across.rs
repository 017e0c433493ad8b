//! What ends of circuits at different workers tell each other: who pays for it, how much of that is under way, and what has come
//! and waits for its turn.
//!
//! ```text
//!   link A ─ frame ─▶ worker 0 ─ message, A pays ─▶ worker 1: what A pays for ─ its turn, among all who have input ─▶ link B
//! ```
//! What comes of a client's frame at another worker is paid for there as it is here: it waits until the account of that client has
//! its turn. That the kernel took bytes is paid for by the client whose bytes they were, ahead of what it says next. What the
//! router orders does not wait: whoever asked has paid, and the router bounds how much of it there is.
//!
//! **Bounds.** Of one peer, or of one address where keys cost nothing, a worker has [`UNDER_WAY_MAX`] messages under way, to all
//! others together. A link that brings more is not listened to, until less than half of them are left; links that send nothing
//! to other workers, and those of others, are. Beyond that come the ends of the circuits of a link that ends, and word that
//! bytes were taken, of which there is no more than there are pieces of bodies.
//!
//! **Nobody waits for ever.** A worker takes in what has come whatever else it does, and what is queued here waits for nothing but
//! its turn: for no memory, no client, and no other worker, since what does not fit into the inbox of another is kept. So a
//! count of what is under way falls, also where two workers have much for each other, and the link that it holds is read again.
//!
//! **Order.** One queue has what one link pays for, in the order in which it was sent: a link with an open circuit stays at
//! its worker, so one worker sends all that a circuit's end is told. The order that opens an end comes before what that is told.

use super::fair::account::{Account, Owner};
use super::to_end::ToEnd;
use super::{EndId, LinkId};
use foldhash::HashMap;
use std::collections::VecDeque;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Messages under way of one payer from one worker: the work of a few tenths of a millisecond, in 128 KiB.
pub(super) const UNDER_WAY_MAX: usize = 512;
/// With so many left a link is listened to again.
const LISTENED_FROM: usize = UNDER_WAY_MAX / 2;
/// So many counts more than were in use last time, or twice as many, make it worth while to look which still are.
const LOOK_AFTER: usize = 64;

/// A link that has told ends at other workers something.
#[derive(Debug)]
pub(super) struct Payer {
    link: LinkId,
    account: Account,
    /// Of all that share with it.
    under_way: Arc<AtomicUsize>,
}

impl Payer {
    /// Whether so much is under way that no more may be said.
    pub(super) fn is_far_ahead(&self) -> bool {
        self.under_way.load(Ordering::Relaxed) >= UNDER_WAY_MAX
    }

    /// Whether so much is under way that nothing new is to be begun.
    pub(super) fn is_ahead(&self) -> bool {
        self.under_way.load(Ordering::Relaxed) >= LISTENED_FROM
    }

    /// One more message is under way.
    pub(super) fn pay(payer: &Arc<Payer>) -> Paid {
        payer.under_way.fetch_add(1, Ordering::Relaxed);
        Paid(Arc::clone(payer))
    }
}

/// Who pays for a message that is under way, or waits for its turn: as long as this is there.
#[derive(Debug)]
pub struct Paid(Arc<Payer>);

impl Drop for Paid {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How much is under way from one worker, by who shares.
#[derive(Debug, Default)]
pub(super) struct Payers {
    counts: HashMap<Owner, Arc<AtomicUsize>>,
    /// How many were in use after the last look.
    used: usize,
}

impl Payers {
    /// A link as somebody who pays.
    pub(super) fn payer(&mut self, link: LinkId, account: Account) -> Arc<Payer> {
        if self.counts.len() > self.used + self.used.max(LOOK_AFTER) {
            self.counts.retain(|_, count| Arc::strong_count(count) > 1);
            self.used = self.counts.len();
        }
        let count = self.counts.entry(account.group.unwrap_or(account.owner)).or_default();
        Arc::new(Payer { link, account, under_way: Arc::clone(count) })
    }

    /// The most that anybody has.
    #[cfg(test)]
    pub(super) fn most(&self) -> usize {
        self.counts.values().map(|count| count.load(Ordering::Relaxed)).max().unwrap_or(0)
    }
}

/// Something that an end is told.
#[derive(Debug)]
pub(super) struct Message {
    /// Which end.
    pub to: EndId,
    /// What.
    pub what: ToEnd,
    /// Who pays for it, if that is not the link that it is for.
    pub paid: Option<Paid>,
}

impl Message {
    /// The link that pays, and on which account, unless that is the link that it is for.
    pub(super) fn payer(&self) -> Option<(LinkId, Account)> {
        self.paid.as_ref().map(|Paid(payer)| (payer.link, payer.account))
    }
}

/// What has come and waits for its turn, by the link that pays.
#[derive(Debug, Default)]
pub(super) struct Arrived {
    by_link: HashMap<LinkId, Queue>,
}

#[derive(Debug)]
struct Queue {
    account: Account,
    messages: VecDeque<Message>,
}

impl Arrived {
    /// Something has come. Whether what that link pays for has to get in line.
    pub(super) fn put(&mut self, link: LinkId, account: Account, message: Message) -> bool {
        match self.by_link.entry(link) {
            Entry::Occupied(mut queue) => {
                queue.get_mut().messages.push_back(message);
                false
            }
            Entry::Vacant(place) => {
                place.insert(Queue { account, messages: VecDeque::from([message]) });
                true
            }
        }
    }

    /// Takes out all that a link pays for.
    pub(super) fn take(&mut self, link: LinkId) -> VecDeque<Message> {
        self.by_link.get_mut(&link).map(|queue| std::mem::take(&mut queue.messages)).unwrap_or_default()
    }

    /// Puts back what is left of that.
    pub(super) fn put_back(&mut self, link: LinkId, left: VecDeque<Message>) {
        if let Some(queue) = self.by_link.get_mut(&link) {
            queue.messages = left;
        }
    }

    /// The turn of what a link pays for is over. On which account the rest of it gets in line again, if there is any.
    pub(super) fn end_turn(&mut self, link: LinkId) -> Option<Account> {
        let Entry::Occupied(queue) = self.by_link.entry(link) else { return None };
        let Queue { account, messages } = queue.get();
        let account = *account;
        if messages.is_empty() {
            queue.remove();
            return None;
        }
        Some(account)
    }
}
