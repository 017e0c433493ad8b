//! What a receiver takes of what is offered to it.

use super::policy::ReceivePolicy;
use super::sink::Offered;
use super::tops::Tops;
use crate::transfer::Fault;
use crate::transfer::messages::Totals;
use std::collections::HashSet;

/// Its limits, and what counts towards them.
pub(crate) struct Admission {
    policy: ReceivePolicy,
    /// Hashes of the paths that were offered: a table of 36 MB for as many as there may be.
    seen: HashSet<u128>,
    /// Bytes of all that was taken, as announced or as they came.
    promised_bytes: u64,
}

impl Admission {
    /// Of nothing yet.
    pub(super) fn new(policy: ReceivePolicy) -> Admission {
        Admission { policy, seen: HashSet::new(), promised_bytes: 0 }
    }

    /// Judges what a sender means to send in all.
    ///
    /// # Errors
    /// It is too much.
    pub(super) fn check_totals(&self, totals: Totals) -> Result<(), Fault> {
        if self.policy.bytes_max.is_some_and(|most| totals.bytes > most) {
            return Err(Fault::TooLarge);
        }
        if self.policy.items_max.is_some_and(|most| totals.items > u64::from(most)) {
            return Err(Fault::TooMany);
        }
        Ok(())
    }

    /// Judges an item, and counts it if it is taken.
    ///
    /// # Errors
    /// Why it is not.
    pub(super) fn admit(&mut self, item: &Offered, tops: &Tops) -> Result<(), Fault> {
        if self.policy.items_max.is_some_and(|most| item.index >= most) {
            return Err(Fault::TooMany);
        }
        tops.check_room(&item.path)?;
        let size = item.size.unwrap_or(0);
        let promised = self.promised_bytes.saturating_add(size);
        if self.is_exceeded_by(promised) {
            return Err(Fault::TooLarge);
        }
        let mut short = [0; 16];
        blake3::Hasher::new().update(item.path.as_bytes()).finalize_xof().fill(&mut short);
        if !self.seen.insert(u128::from_le_bytes(short)) {
            return Err(Fault::Duplicate);
        }
        self.promised_bytes = promised;
        Ok(())
    }

    /// Whether so many bytes in all are more than this receiver takes. A file longer than a signed offset cannot exist.
    pub(super) fn is_exceeded_by(&self, bytes: u64) -> bool {
        bytes > self.policy.bytes_max.unwrap_or(u64::MAX).min(i64::MAX.unsigned_abs())
    }

    /// The same, of so many bytes more than were announced.
    pub(super) fn is_exceeded_by_further(&self, bytes: u64) -> bool {
        self.is_exceeded_by(self.promised_bytes.saturating_add(bytes))
    }

    /// So many bytes came that were not announced.
    pub(super) fn count_further(&mut self, bytes: u64) {
        self.promised_bytes = self.promised_bytes.saturating_add(bytes);
    }

    /// How many paths it remembers.
    #[cfg(test)]
    pub(super) fn remembered(&self) -> usize {
        self.seen.len()
    }
}
