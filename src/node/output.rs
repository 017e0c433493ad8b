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

    pub(super) fn written(&mut self, count: usize) {
        self.at += count;
        if self.is_empty() {
            self.clear();
        }
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.at = 0;
    }
}
