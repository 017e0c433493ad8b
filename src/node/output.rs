//! Bytes on their way to the carrier: one contiguous run, written from the front, filled when empty.

/// Output of a node. Frames in it are sealed, so it is only ever appended to.
#[derive(Default)]
pub(super) struct Output {
    pub(super) bytes: Vec<u8>,
    at: usize,
}

impl Output {
    /// What the carrier should take next.
    pub(super) fn pending(&self) -> &[u8] {
        &self.bytes[self.at..]
    }

    /// Nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// The carrier took so many bytes of what is pending. What it says beyond that is not of this link.
    pub(super) fn written(&mut self, count: usize) {
        self.at = self.bytes.len().min(self.at.saturating_add(count));
        if self.is_empty() {
            self.clear();
        }
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.at = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_carrier_took_of_a_link_before_changes_nothing() {
        let mut out = Output::default();
        out.written(5);
        assert!(out.is_empty() && out.pending().is_empty());
        out.bytes.extend(b"ab");
        out.written(1);
        assert_eq!(out.pending(), b"b");
        out.written(usize::MAX);
        assert!(out.is_empty() && out.pending().is_empty());
    }
}
