//! What is sent: streams that no compressor shrinks, trees that hold every kind of thing, and ways to compare them.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// An endless stream that a seed decides: BLAKE3's output, faster than any pipe and as good as random.
pub struct Random(blake3::OutputReader);

impl Random {
    /// The stream of `seed`.
    pub fn new(seed: u64) -> Random {
        Random(blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof())
    }

    /// The first bytes of it.
    pub fn bytes(seed: u64, bytes: usize) -> Vec<u8> {
        let mut out = vec![0; bytes];
        Random::new(seed).0.fill(&mut out);
        out
    }

    /// The BLAKE3 of its first bytes.
    pub fn digest(seed: u64, bytes: u64) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(Random::new(seed).take(bytes)).expect("memory does not fail");
        hasher.finalize()
    }

    /// Writes its first bytes to a file.
    pub fn file(path: &Path, seed: u64, bytes: u64) {
        let mut file = File::create(path).expect("a file to send");
        io::copy(&mut Random::new(seed).take(bytes), &mut file).expect("space for a file to send");
        file.flush().expect("space for a file to send");
    }
}

impl Read for Random {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.fill(buffer);
        Ok(buffer.len())
    }
}

/// What one name in a tree is, as far as it must survive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    File { mode: u32, mtime: (i64, i64), bytes: u64, digest: blake3::Hash },
    Dir { mode: u32, mtime: (i64, i64) },
    Link { target: PathBuf },
    Other,
}

/// Every name below `root`, part files and other leftovers included.
pub fn snapshot(root: &Path) -> BTreeMap<PathBuf, Entry> {
    let mut entries = BTreeMap::new();
    let mut todo = vec![root.to_owned()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(&dir).expect("a directory to compare") {
            let path = entry.expect("a directory to compare").path();
            let meta = fs::symlink_metadata(&path).expect("an entry to compare");
            let (mode, mtime) = (meta.mode() & 0o7777, (meta.mtime(), meta.mtime_nsec()));
            let what = match meta.file_type() {
                kind if kind.is_dir() => Entry::Dir { mode, mtime },
                kind if kind.is_symlink() => Entry::Link { target: fs::read_link(&path).expect("a link") },
                kind if kind.is_file() => Entry::File { mode, mtime, bytes: meta.len(), digest: digest(&path) },
                _ => Entry::Other,
            };
            if matches!(what, Entry::Dir { .. }) {
                todo.push(path.clone());
            }
            entries.insert(path.strip_prefix(root).expect("below the root").to_owned(), what);
        }
    }
    entries
}

/// Shows everything below `root` that still has its name when it is looked at: whoever writes there may rename meanwhile.
fn walk(root: &Path, mut see: impl FnMut(&Path, &fs::Metadata)) {
    let mut todo = vec![fs::read_dir(root).expect("a directory to look at")];
    while let Some(entries) = todo.pop() {
        for entry in entries {
            let path = entry.expect("a directory to look at").path();
            let Some(meta) = there(fs::symlink_metadata(&path)) else { continue };
            if meta.is_dir() {
                todo.extend(there(fs::read_dir(&path)));
            }
            see(&path, &meta);
        }
    }
}

/// What was found, or nothing where the name was gone.
#[track_caller]
fn there<T>(found: io::Result<T>) -> Option<T> {
    match found {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        found => Some(found.expect("something to look at")),
    }
}

/// The names below `root`, for tests that care for nothing else; also while somebody works there.
pub fn names(root: &Path) -> Vec<String> {
    let mut names = BTreeSet::new();
    walk(root, |path, _| {
        names.insert(path.strip_prefix(root).expect("below the root").to_owned());
    });
    names.iter().map(|path| path.to_string_lossy().into_owned()).collect()
}

/// The lengths of all files below `root`, finished or not, bytes; also while somebody works there. One that is renamed
/// meanwhile counts once.
pub fn held(root: &Path) -> u64 {
    let mut lengths = BTreeMap::new();
    walk(root, |_, meta| {
        if meta.is_file() {
            lengths.insert(meta.ino(), meta.len());
        }
    });
    lengths.values().sum()
}

/// Asserts that two trees hold the same, and names the first difference.
#[track_caller]
pub fn assert_same_tree(sent: &Path, received: &Path) {
    let (sent, received) = (snapshot(sent), snapshot(received));
    for (path, entry) in &sent {
        assert_eq!(received.get(path), Some(entry), "{} differs", path.display());
    }
    let extra: Vec<_> = received.keys().filter(|path| !sent.contains_key(*path)).collect();
    assert!(extra.is_empty(), "received what was not sent: {extra:?}");
}

/// The same for trees that another program copied: not every rsync keeps the times of directories.
#[track_caller]
pub fn assert_same_content(sent: &Path, received: &Path) {
    let without_times = |root: &Path| {
        let mut entries = snapshot(root);
        for entry in entries.values_mut() {
            if let Entry::Dir { mtime, .. } = entry {
                *mtime = (0, 0);
            }
        }
        entries
    };
    assert_eq!(without_times(sent), without_times(received));
}

/// BLAKE3 of a file.
pub fn digest(path: &Path) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(File::open(path).expect("a file to compare")).expect("a file to compare");
    hasher.finalize()
}

/// A tree with every kind of thing that must survive: modes, times before and after 1970, links, empty directories, holes,
/// names that are not UTF-8 and names as long as names get.
pub fn nasty_tree(root: &Path) {
    let dir = |name: &str| fs::create_dir_all(root.join(name)).expect("a directory");
    ["empty", "deep/er/and/deeper", "modes", "names"].into_iter().for_each(dir);
    Random::file(&root.join("large"), 1, 3 << 20);
    Random::file(&root.join("deep/er/and/deeper/file"), 2, 70_000);
    Random::file(&root.join("none"), 3, 0);
    Random::file(&root.join("one"), 4, 1);
    fs::write(root.join("text"), "the same line again and again\n".repeat(20_000)).expect("a file");
    for mode in [0o400, 0o644, 0o600, 0o755, 0o511] {
        let path = root.join(format!("modes/{mode:o}"));
        fs::write(&path, format!("{mode:o}")).expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("a mode");
    }
    let long = "n".repeat(255);
    let odd: [&[u8]; 7] =
        [b"with space", b"-dash", b"quote'\"", b"\xc3\xbcml\xc3\xa4ut", b"not\xffutf8", b"...", long.as_bytes()];
    for name in odd {
        fs::write(root.join("names").join(OsStr::from_bytes(name)), name).expect("a file");
    }
    symlink("deep/er", root.join("link")).expect("a link");
    symlink("../large", root.join("deep/up")).expect("a link");
    symlink("nowhere", root.join("dangling")).expect("a link");
    sparse(&root.join("sparse"), 8 << 20);
    for (seconds, name) in [(1_000_000_000, "text"), (1, "one"), (2_000_000_000, "empty"), (981_173_106, "deep/er")] {
        set_mtime(&root.join(name), seconds);
    }
}

/// A file of `bytes` that is a hole but for its first and last 4 KiB.
pub fn sparse(path: &Path, bytes: u64) {
    use std::os::unix::fs::FileExt;
    let file = File::create(path).expect("a file");
    file.set_len(bytes).expect("a length");
    file.write_all_at(&Random::bytes(5, 4096), 0).expect("its head");
    file.write_all_at(&Random::bytes(6, 4096), bytes - 4096).expect("its tail");
}

/// What a file takes on disk, bytes.
pub fn on_disk(path: &Path) -> u64 {
    fs::metadata(path).expect("a file").blocks() * 512
}

fn set_mtime(path: &Path, seconds: u64) {
    let time = std::time::UNIX_EPOCH + std::time::Duration::new(seconds, 123_456_789);
    File::open(path).and_then(|file| file.set_modified(time)).expect("a time");
}
