//! Sealing one record of TLS into the room that goes to the kernel (RFC 8446, 5.2; RFC 5246, 6.2.3.3, with the nonces of RFC 7905).
//!
//! The library would make memory of its own for each.

use super::outward::Outward;
use aws_lc_rs::aead::{Aad, LessSafeKey, Nonce};
use aws_lc_rs::error::Unspecified;
use rustls::crypto::cipher::{self, Iv, NONCE_LEN, make_tls12_aad, make_tls13_aad};
use rustls::{ContentType, Error, ProtocolVersion};
use std::io::IoSlice;

/// The head of a record: a kind, a version, a length.
pub(super) const HEAD_BYTES: usize = 5;
/// What every cipher here adds.
const TAG_BYTES: usize = 16;
/// What a record is longer than its content, at most: a head, and the part of a nonce that TLS 1.2 says or the kind that TLS 1.3 hides.
pub(super) const OVERHEAD_MAX: usize = HEAD_BYTES + 8 + TAG_BYTES;

/// How records of one connection look.
#[derive(Clone, Copy, Debug)]
pub(super) struct Form {
    /// Whether they are of TLS 1.3, rather than 1.2.
    pub is_new: bool,
    /// Bytes between the head of a record and what is sealed in it.
    pub nonce_bytes: usize,
}

/// Seals what goes.
pub(super) struct Sealer {
    pub key: LessSafeKey,
    pub iv: Iv,
    pub form: Form,
    /// Records that it has sealed.
    pub count: u64,
    /// Those that it may.
    pub most: u64,
}

/// Bytes that lie in several places, from the front.
#[derive(Clone, Copy)]
pub(super) struct Pieces<'a> {
    slices: &'a [IoSlice<'a>],
    /// Bytes of the first that are used.
    used: usize,
    /// Bytes in all.
    left: usize,
}

impl<'a> Pieces<'a> {
    /// Of these at most so many.
    pub(super) fn new(slices: &'a [IoSlice<'a>], most: usize) -> Pieces<'a> {
        let shown: usize = slices.iter().map(|slice| slice.len()).sum();
        Pieces { slices, used: 0, left: shown.min(most) }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.left
    }

    /// The front of them, at most so many, which are these no more.
    pub(super) fn split_front(&mut self, most: usize) -> Pieces<'a> {
        let front = Pieces { left: self.left.min(most), ..*self };
        let mut gone = front.left;
        while gone > 0 {
            gone -= self.take(gone).len();
        }
        front
    }

    /// The next, at most so many, as far as they lie together. None at the end alone.
    fn take(&mut self, most: usize) -> &'a [u8] {
        while let [first, rest @ ..] = self.slices {
            let piece = &first[self.used..];
            if !piece.is_empty() || rest.is_empty() {
                let piece = &piece[..piece.len().min(most).min(self.left)];
                (self.used, self.left) = (self.used + piece.len(), self.left - piece.len());
                return piece;
            }
            (self.slices, self.used) = (rest, 0);
        }
        &[]
    }

    /// Copies all of them to `room`, which has as many.
    fn copy(mut self, mut room: &mut [u8]) {
        while !room.is_empty() {
            let piece = self.take(room.len());
            let (here, behind) = room.split_at_mut(piece.len());
            here.copy_from_slice(piece);
            room = behind;
        }
    }
}

/// Where a record goes behind its head and nonce.
struct Room<'a> {
    /// As long as its content.
    content: &'a mut [u8],
    /// What is sealed behind that.
    hidden: &'a [u8],
    /// As long as that, and the tag.
    behind: &'a mut [u8],
}

impl Sealer {
    /// Seals a record with these.
    ///
    /// # Errors
    /// Its key has sealed as much as it may, or they are too many.
    pub(super) fn seal(&mut self, typ: ContentType, content: Pieces<'_>, out: &mut Outward) -> Result<(), Error> {
        if self.count >= self.most {
            return Err(Error::EncryptError);
        }
        // TLS 1.3 hides what a record is behind its content.
        let kind = [u8::from(typ)];
        let (shown, hidden) = match self.form.is_new {
            true => (ContentType::ApplicationData, &kind[..]),
            false => (typ, &[][..]),
        };
        let (length, nonce_bytes) = (content.len(), self.form.nonce_bytes);
        let body = nonce_bytes + length + hidden.len() + TAG_BYTES;
        let said = u16::try_from(body).map_err(|_| Error::EncryptError)?;
        let nonce = cipher::Nonce::new(&self.iv, self.count).0;

        let (head, rest) = out.room(HEAD_BYTES + body).split_at_mut(HEAD_BYTES);
        head[0] = shown.into();
        head[1..3].copy_from_slice(&u16::from(ProtocolVersion::TLSv1_2).to_be_bytes());
        head[3..].copy_from_slice(&said.to_be_bytes());
        let (explicit, rest) = rest.split_at_mut(nonce_bytes);
        explicit.copy_from_slice(&nonce[nonce.len() - nonce_bytes..]);
        let (room, behind) = rest.split_at_mut(length);
        let room = Room { content: room, hidden, behind };
        let old = make_tls12_aad(self.count, typ, ProtocolVersion::TLSv1_2, length);
        let aad = if self.form.is_new { &make_tls13_aad(body)[..] } else { &old[..] };
        self.fill(nonce, aad, content, room).map_err(|_| Error::EncryptError)?;

        self.count += 1;
        out.end_record(HEAD_BYTES + body, if typ == ContentType::ApplicationData { length } else { 0 });
        Ok(())
    }

    fn fill(&self, nonce: [u8; NONCE_LEN], aad: &[u8], content: Pieces<'_>, room: Room<'_>) -> Result<(), Unspecified> {
        let (nonce, aad) = (Nonce::assume_unique_for_key(nonce), Aad::from(aad));
        let mut whole = content;
        let front = whole.take(content.len());
        if front.len() == content.len() {
            return self.key.seal_out_of_place_scatter(nonce, aad, front, room.content, room.hidden, room.behind);
        }
        content.copy(room.content);
        self.key.seal_in_place_scatter(nonce, aad, room.content, room.hidden, room.behind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn pieces_are_what_they_were_shown_as_however_they_are_taken(
            slices in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..9), 0..6),
            most in 0..60_usize,
            step in 1..20_usize,
        ) {
            let whole = slices.concat();
            let shown: Vec<_> = slices.iter().map(|slice| IoSlice::new(slice)).collect();
            let mut pieces = Pieces::new(&shown, most);
            prop_assert_eq!(pieces.len(), whole.len().min(most));
            let mut taken = Vec::new();
            while pieces.len() > 0 {
                let front = pieces.split_front(step);
                let mut room = vec![0; front.len()];
                front.copy(&mut room);
                prop_assert!(room.len() == step || pieces.len() == 0);
                taken.extend(room);
            }
            prop_assert_eq!(&taken[..], &whole[..whole.len().min(most)]);
        }
    }
}
