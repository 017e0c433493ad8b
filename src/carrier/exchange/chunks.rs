//! Content in chunks (RFC 9112, 7.1): their bytes in the place of what they came in.

/// Letters of the head of a chunk, at most, with what some put behind the length: nothing that we know.
const LINE_MAX: usize = 256;
/// Lines behind the last chunk, at most.
const TRAILERS_MAX: usize = 16;
/// Digits of a length.
const DIGITS_MAX: usize = 8;

#[derive(Clone, Copy, Debug)]
enum Step {
    /// The line with a length: the length so far, its digits, letters of the line, and whether its digits are over.
    Length {
        value: usize,
        digits: usize,
        letters: usize,
        is_over: bool,
    },
    /// Its end.
    LengthEnd(usize),
    /// Content, of which so much is left.
    Content(usize),
    /// What is behind it: CR and then LF.
    ContentEnd(bool),
    /// A line behind the last chunk, of which there were so many before, with so many letters.
    Trailer(usize, usize),
    /// The end of that.
    TrailerEnd(usize, bool),
    Over,
}

/// What came breaks the rules of chunks.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// See the module.
#[derive(Debug)]
pub(super) struct Chunks(Step);

const LENGTH: Step = Step::Length { value: 0, digits: 0, letters: 0, is_over: false };

impl Default for Chunks {
    fn default() -> Chunks {
        Chunks(LENGTH)
    }
}

impl Chunks {
    /// Whether the last chunk has come, and all behind it.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.0, Step::Over)
    }

    /// Uses wire bytes from `read` on, and moves content to `kept`, which is never ahead of that; both go on. What is behind the end is
    /// left.
    pub(super) fn handle_wire(&mut self, wire: &mut [u8], read: &mut usize, kept: &mut usize) -> Result<(), Malformed> {
        while *read < wire.len() && !self.is_over() {
            if let Step::Content(left) = self.0 {
                let count = left.min(wire.len() - *read);
                wire.copy_within(*read..*read + count, *kept);
                (*read, *kept) = (*read + count, *kept + count);
                self.0 = if left == count { Step::ContentEnd(false) } else { Step::Content(left - count) };
            } else {
                self.0 = self.0.after(wire[*read])?;
                *read += 1;
            }
        }
        Ok(())
    }
}

impl Step {
    /// A byte came that is no content.
    fn after(self, byte: u8) -> Result<Step, Malformed> {
        Ok(match (self, byte) {
            (Step::Length { value, digits: 1.., .. }, b'\r') => Step::LengthEnd(value),
            (Step::Length { value, digits, letters, is_over }, _) if letters < LINE_MAX => {
                let digit = char::from(byte).to_digit(16).and_then(|digit| usize::try_from(digit).ok());
                match digit.filter(|_| !is_over) {
                    Some(digit) if digits < DIGITS_MAX => {
                        Step::Length { value: value << 4 | digit, digits: digits + 1, letters: letters + 1, is_over }
                    }
                    None if digits > 0 && (is_over || matches!(byte, b';' | b' ' | b'\t')) && byte != b'\n' => {
                        Step::Length { value, digits, letters: letters + 1, is_over: true }
                    }
                    _ => return Err(Malformed),
                }
            }
            (Step::LengthEnd(0), b'\n') => Step::Trailer(0, 0),
            (Step::LengthEnd(length), b'\n') => Step::Content(length),
            (Step::ContentEnd(false), b'\r') => Step::ContentEnd(true),
            (Step::ContentEnd(true), b'\n') => LENGTH,
            (Step::Trailer(lines, 0), b'\r') => Step::TrailerEnd(lines, true),
            (Step::Trailer(lines, _), b'\r') => Step::TrailerEnd(lines, false),
            (Step::Trailer(lines, letters), _) if letters < LINE_MAX && byte != b'\n' => {
                Step::Trailer(lines, letters + 1)
            }
            (Step::TrailerEnd(_, true), b'\n') => Step::Over,
            (Step::TrailerEnd(lines, false), b'\n') if lines < TRAILERS_MAX => Step::Trailer(lines + 1, 0),
            _ => return Err(Malformed),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(wire: &[u8], step: usize) -> Result<(Vec<u8>, usize, bool), Malformed> {
        let (mut chunks, mut content, mut used) = (Chunks::default(), Vec::new(), 0);
        for piece in wire.chunks(step.max(1)) {
            let (mut piece, mut read, mut kept) = (piece.to_vec(), 0, 0);
            chunks.handle_wire(&mut piece, &mut read, &mut kept)?;
            content.extend(&piece[..kept]);
            used += read;
        }
        Ok((content, used, chunks.is_over()))
    }

    #[test]
    fn content_comes_out_of_chunks_however_they_are_cut_and_what_is_behind_stays() {
        let wire = b"5\r\nhello\r\n00B;a=b\r\n, wide worl\r\n1 \r\nd\r\n0\r\nA: b\r\n\r\nHTTP/1.1 200";
        for step in 1..wire.len() + 1 {
            assert_eq!(read(wire, step), Ok((b"hello, wide world".to_vec(), wire.len() - 12, true)), "{step}");
        }
    }

    #[test]
    fn what_is_no_chunk_is_refused() {
        for wire in [
            &b"\r\n"[..],
            b"x\r\n",
            b"-1\r\n",
            b"5\nhello",
            b"5\r\nhellox",
            b"5\r\nhello\n",
            b"123456789\r\n",
            b"5;\n",
            b"0\r\nA\n",
            b"5x\r\n",
        ] {
            assert_eq!(read(wire, 1), Err(Malformed), "{wire:?}");
            assert_eq!(read(wire, wire.len()), Err(Malformed), "{wire:?}");
        }
        assert_eq!(read(&[&b"1;"[..], &[b'a'; LINE_MAX]].concat(), 7), Err(Malformed));
        assert_eq!(read(&[&b"0\r\n"[..], &b"a\r\n".repeat(TRAILERS_MAX + 2)].concat(), 7), Err(Malformed));
    }

    proptest! {
        #[test]
        fn any_bytes_are_used_or_refused(wire in proptest::collection::vec(any::<u8>(), 0..200), step in 1_usize..9) {
            prop_assert_eq!(read(&wire, step), read(&wire, wire.len()));
        }
    }
}
