//! A directory as the place where a transfer goes.

use super::beside::Beside;
use super::directories::Directories;
use super::elsewhere::Elsewhere;
use super::sending::wide;
use super::sink::{Offered, Owing, Settled, Sink, Verdict};
use crate::store::adopt::adopt;
use crate::store::attributes::{Attributes, Unkept};
use crate::store::batch::{Batch, FinalName, Landed, Landing};
use crate::store::extent::hash_range;
use crate::store::inbox::{Inbox, Overwrite};
use crate::store::leftovers;
use crate::store::maker::{Made, Maker};
use crate::store::owed::{self, Marker, Marks};
use crate::store::part::{LiveRun, PartFile, PartKey, PartName};
use crate::store::stamp::Stamp;
use crate::store::there::There;
use crate::transfer::Fault;
use crate::transfer::hash::ContentHash;
use crate::transfer::item::{Kind, Mtime};
use crate::transfer::messages::{IfDifferent, ItemOutcome};
use crate::transfer::path::{ALTERNATIVES_MAX, TreePath, alternative, link_stays_inside};
use rustix::fd::OwnedFd;
use rustix::fs::fstat;
use std::fs::File;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

/// What a stream's part file is named after in place of a time: a stream has none.
const NO_TIME: Mtime = Mtime { seconds: 0, nanos: 0 };

/// Where content goes.
enum Writing {
    /// Into a part file, which was begun then, and for which a run is owed since then, or not.
    Part { name: PartName, file: PartFile, since: SystemTime, owed: bool },
    /// Nowhere: a stream may be the file that is there and stays.
    Beside(Beside),
    /// Nowhere: another transfer of the same file has cleared the part away that this goes on with, as its own has got the
    /// name. This many bytes there are by now.
    Cleared { bytes: u64 },
}

/// The receiver's directory during one transfer.
pub(crate) struct TreeSink {
    inbox: Inbox,
    overwrite: Overwrite,
    sender: [u8; 32],
    run: u64,
    /// While it goes on.
    _live: LiveRun,
    batch: Batch,
    writing: Option<Writing>,
    elsewhere: Elsewhere,
    pub directories: Directories,
    /// Whether a hook is owed a run for what comes.
    pub owes_runs: bool,
    /// Where that was noted last: most items follow others of the same tree.
    owing: Vec<u8>,
    /// As they were when everything had come.
    marks: Option<Marks>,
}

impl TreeSink {
    /// `run` makes the names of unfinished files unique: random.
    pub(super) fn new(inbox: Inbox, overwrite: Overwrite, sender: [u8; 32], run: u64) -> Self {
        Self {
            inbox: inbox.serving(Maker::new(sender)),
            overwrite,
            sender,
            run,
            _live: LiveRun::begin(run),
            batch: Batch::default(),
            writing: None,
            elsewhere: Elsewhere::default(),
            directories: Directories::default(),
            owes_runs: false,
            owing: Vec::new(),
            marks: None,
        }
    }

    /// Something of an item is about to come: a run is owed for what it belongs to. True if that is news.
    fn owe(&mut self, item: &Offered) -> Result<bool, Fault> {
        let name = item.path.first();
        if !self.owes_runs || self.owing == name {
            return Ok(false);
        }
        let news = Marker(self.run).owe(&mut self.inbox, name)?;
        // The names in the root are synced with an item there, but not with one below it.
        if news && item.path.depth() > 1 {
            self.inbox.sync_directory(b"")?;
        }
        self.owing = name.to_vec();
        Ok(news)
    }

    /// It was there already.
    fn forgive(&mut self, item: &Offered) {
        Marker(self.run).forgive(&mut self.inbox, item.path.first());
        self.owing.clear();
    }

    /// It is at its place, and nothing else of this transfer may replace it there.
    fn count_as_landed(&mut self, item: &Offered) -> Result<(), Fault> {
        // Only this policy replaces anything.
        if self.overwrite == Overwrite::Yes { self.inbox.count_as_landed(&item.path) } else { Ok(()) }
    }

    fn part_name(&self, item: &Offered) -> PartName {
        let (size, mtime) = (item.size.unwrap_or(u64::MAX), item.mtime.unwrap_or(NO_TIME));
        PartName { key: PartKey::new(&self.sender, &item.path, size, mtime), run: self.run }
    }

    fn look_file(&mut self, item: &Offered, checkpoints: NonZeroU64) -> Result<Verdict, Fault> {
        let mtime = item.mtime.unwrap_or(NO_TIME);
        let there = self.inbox.look(&item.path)?;
        if !matches!(there, There::File(_)) {
            self.check_place(&there)?;
        }
        // Of a file that is left alone nothing unfinished can be of use.
        let left_alone = there != There::Nothing && self.overwrite == Overwrite::Never;
        if let (false, Some(size)) = (left_alone, item.size)
            && self.inbox.has_parts(item.path.parent())?
            && let ours = self.part_name(item)
            && let Some(part) = adopt(&mut self.inbox, &item.path, ours)?
        {
            return Ok(Verdict::Want(part.checkpoints(size, checkpoints)?));
        }
        let same = match there {
            There::Nothing => None,
            _ => self.inbox.same_size(&item.path, (item.size, mtime), self.overwrite)?,
        };
        match same {
            Some((name, stamp)) => {
                let file = self.inbox.open_existing(item.path.parent(), &name)?;
                let mut hasher = ContentHash::default();
                hash_range(&file, &mut hasher, 0, stamp.size)?;
                if name != item.path.name() {
                    self.elsewhere.note(item.index, name);
                }
                let otherwise = if left_alone { IfDifferent::Leave } else { IfDifferent::Send };
                Ok(Verdict::Have(hasher.hash(), otherwise))
            }
            None if left_alone => Err(Fault::Exists),
            None => Ok(Verdict::Want(Vec::new())),
        }
    }

    /// Gives a file that was here the announced mode and time where it may be replaced. False if it has others still.
    fn follow(&mut self, item: &Offered, file: &OwnedFd) -> bool {
        let (Some(mode), Some(mtime)) = (item.mode, item.mtime) else { return true };
        let announced = Attributes { mode, mtime };
        if self.overwrite == Overwrite::Yes {
            let unkept = announced.set(file);
            // What cannot be kept there is told as it is of what has come.
            return unkept.map(|unkept| self.inbox.note_unkept(item.path.parent(), unkept)).is_ok();
        }
        let Ok(stamp) = fstat(file).map(|stat| Stamp::of(&stat)) else { return false };
        !announced.differ_from(&stamp) || !announced.kept(self.would_lose(item, announced), &stamp).differ_from(&stamp)
    }

    /// What of this the file system would not keep where the item is: nobody need hear that it is otherwise there.
    fn would_lose(&mut self, item: &Offered, announced: Attributes) -> Unkept {
        let probe = self.part_name(item);
        self.inbox.would_lose(item.path.parent(), &probe, announced)
    }

    /// Whether another transfer has put the very version there meanwhile. One that was there before is not what is sent.
    fn has_come_since(&mut self, item: &Offered, since: SystemTime) -> bool {
        let Ok(There::File(stamp)) = self.inbox.look(&item.path) else { return false };
        let seconds = stamp.changed.seconds.try_into().unwrap_or(0);
        let changed = SystemTime::UNIX_EPOCH.checked_add(Duration::new(seconds, stamp.changed.nanos));
        Some(stamp.size) == item.size && Some(stamp.mtime) == item.mtime && changed >= Some(since)
    }

    /// Whether something else than what is there may get its name.
    fn check_place(&self, there: &There) -> Result<(), Fault> {
        match (there, self.overwrite) {
            (There::Nothing, _) | (_, Overwrite::Rename) => Ok(()),
            (There::Directory { empty: false }, _) => Err(Fault::NotEmpty),
            (_, Overwrite::Yes) => Ok(()),
            (_, Overwrite::Never) => Err(Fault::Exists),
        }
    }

    /// Makes a directory, in the place of something else where that may be replaced.
    fn make_directory(&mut self, item: &Offered, mode: u16) -> Result<Made, Fault> {
        let made = match self.inbox.make_directory(&item.path, mode) {
            Err(Fault::Exists) if self.overwrite == Overwrite::Yes => {
                self.inbox.clear_for_directory(&item.path)?;
                self.inbox.make_directory(&item.path, mode)
            }
            made => made,
        }?;
        self.count_as_landed(item)?;
        Ok(made)
    }

    /// Whether a stream of this length, which would get a free name, is what has the last of those names.
    fn holds_stream(&mut self, item: &Offered, bytes: u64) -> Result<bool, Fault> {
        let (None, Some(hash), Overwrite::Rename) = (item.size, item.hash, self.overwrite) else { return Ok(false) };
        let mut last = None;
        for number in 0..=ALTERNATIVES_MAX {
            let Ok(path) = TreePath::top(&alternative(item.path.name(), number)) else { break };
            match self.inbox.look(&path)? {
                There::Nothing => break,
                There::File(stamp) if stamp.size == bytes => last = Some(path),
                _ => last = None,
            }
        }
        let Some(path) = last else { return Ok(false) };
        let same = self.inbox.holds(path.parent(), path.name(), (bytes, hash))?;
        if same && path != item.path {
            self.elsewhere.note(item.index, path.name().to_vec());
        }
        Ok(same)
    }

    fn look_directory(&mut self, now: Instant, item: &Offered) -> Result<Verdict, Fault> {
        let announced = Attributes { mode: item.mode.unwrap_or(0o700), mtime: item.mtime.unwrap_or(NO_TIME) };
        self.directories.reserve(&item.path)?;
        let news = self.owe(item)?;
        let made = self.make_directory(item, announced.mode);
        if news && !made.as_ref().is_ok_and(|made| made.fresh().is_some()) {
            self.forgive(item);
        }
        let made = made?;
        let stays = self.directories.add(&item.path, (made, self.overwrite), announced);
        let kept = made.fresh().is_none().then(|| item.path.name().to_vec());
        // Its time says when something was put into it last, and that may be now.
        let unlike = stays != announced.mode && !self.would_lose(item, announced).permissions;
        self.batch.add_name(now, Landing { kept, unlike, ..landing(item, None) });
        Ok(Verdict::Taken)
    }

    fn look_link(&mut self, now: Instant, item: &Offered, target: &[u8]) -> Result<Verdict, Fault> {
        if !link_stays_inside(&item.path, target) {
            return Err(Fault::LinkTarget);
        }
        let there = self.inbox.look(&item.path)?;
        if matches!(&there, There::Link(known) if known == target) {
            self.count_as_landed(item)?;
            let kept = Some(item.path.name().to_vec());
            self.batch.add_name(now, Landing { kept, ..landing(item, None) });
            return Ok(Verdict::Taken);
        }
        let (parent, mtime) = (item.path.parent(), item.mtime.unwrap_or(NO_TIME));
        self.check_place(&there)?;
        self.owe(item)?;
        if there == There::Nothing {
            self.inbox.make_link(parent, item.path.name(), target, mtime)?;
            self.count_as_landed(item)?;
            self.batch.add_name(now, landing(item, None));
        } else {
            // Made under the name of an unfinished file, then renamed like one.
            let part = self.part_name(item);
            self.inbox.make_link(parent, part.to_string().as_bytes(), target, mtime)?;
            self.batch.add_name(now, landing(item, Some(part)));
        }
        Ok(Verdict::Taken)
    }
}

fn landing(item: &Offered, part: Option<PartName>) -> Landing {
    Landing {
        index: item.index,
        path: item.path.clone(),
        part,
        content: item.size.zip(item.hash),
        kept: None,
        unlike: false,
    }
}

impl Sink for TreeSink {
    fn look(&mut self, now: Instant, item: &Offered, checkpoints: NonZeroU64) -> Result<Verdict, Fault> {
        match &item.kind {
            Kind::File => self.look_file(item, checkpoints),
            Kind::Directory => self.look_directory(now, item),
            Kind::Link(target) => self.look_link(now, item, target),
        }
    }

    fn begin_stream(&mut self, name: &[u8]) -> Result<Offered, Fault> {
        let path = TreePath::top(name).map_err(|_| Fault::Name)?;
        let there = self.inbox.look(&path)?;
        let item = Offered { index: 0, path, kind: Kind::File, size: None, mode: None, mtime: None, hash: None };
        match (&there, self.overwrite) {
            (There::File(_), Overwrite::Never) => {
                let file = self.inbox.open_existing(item.path.parent(), item.path.name())?;
                self.writing = Some(Writing::Beside(Beside::new(File::from(file))));
            }
            _ => {
                self.check_place(&there)?;
                self.begin(&item, 0)?;
            }
        }
        Ok(item)
    }

    fn begin(&mut self, item: &Offered, offset: u64) -> Result<(), Fault> {
        let owed = self.owe(item)?;
        let name = self.part_name(item);
        let file = self.inbox.fill(item.path.parent(), |directory| match offset {
            // Adopted, but not even the first prefix may have fitted.
            0 => PartFile::create(directory, &name).or_else(|fault| match fault {
                Fault::Exists => PartFile::resume(directory, &name, 0),
                other => Err(other),
            }),
            _ => PartFile::resume(directory, &name, offset),
        });
        self.writing = match file {
            Err(Fault::Busy) if offset > 0 => Some(Writing::Cleared { bytes: offset }),
            file => Some(Writing::Part { name, file: file?, since: SystemTime::now(), owed }),
        };
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        match &mut self.writing {
            Some(Writing::Part { file, .. }) => file.write(bytes),
            Some(Writing::Beside(beside)) => beside.compare(bytes),
            Some(Writing::Cleared { bytes: counted }) => {
                *counted += wide(bytes.len());
                Ok(())
            }
            None => Err(Fault::Io),
        }
    }

    fn skip(&mut self, zeros: u64) -> Result<(), Fault> {
        match &mut self.writing {
            Some(Writing::Part { file, .. }) => file.skip(zeros),
            Some(Writing::Cleared { bytes }) => *bytes += zeros,
            // A stream has no holes.
            Some(Writing::Beside(_)) | None => return Err(Fault::Io),
        }
        Ok(())
    }

    fn complete(&mut self, now: Instant, item: Offered) -> Result<Option<Settled>, Fault> {
        let (name, file, owed) = match self.writing.take().ok_or(Fault::Io)? {
            Writing::Part { name, file, owed, .. } => (name, file, owed),
            Writing::Beside(beside) => return beside.finish().map(|()| self.keep(now, item)),
            Writing::Cleared { bytes } => {
                let (hash, parent) = (item.hash.ok_or(Fault::Busy)?, item.path.parent());
                let is_there = self.inbox.holds(parent, item.path.name(), (bytes, hash))?;
                return if is_there { Ok(self.keep(now, item)) } else { Err(Fault::Busy) };
            }
        };
        let bytes = file.offset();
        if self.holds_stream(&item, bytes)? {
            self.inbox.remove_part(item.path.parent(), &name);
            if owed {
                self.forgive(&item);
            }
            return Ok(self.keep(now, item));
        }
        match file.finish(item.mode, item.mtime) {
            Ok((file, unkept)) => {
                self.inbox.note_unkept(item.path.parent(), unkept);
                let content = Some(bytes).zip(item.hash);
                self.batch.add_file(now, Landing { content, ..landing(&item, Some(name)) }, Some(file), bytes);
                Ok(None)
            }
            Err(fault) => {
                self.inbox.remove_part(item.path.parent(), &name);
                Err(fault)
            }
        }
    }

    fn keep(&mut self, now: Instant, item: Offered) -> Option<Settled> {
        if let Err(fault) = self.count_as_landed(&item) {
            return Some(Settled { index: item.index, path: item.path, outcome: fault.into(), renamed: None });
        }
        // Whoever put it there may not have synced it: this receiver, too, if it was killed between renaming and syncing.
        let name = self.elsewhere.take(item.index).unwrap_or_else(|| item.path.name().to_vec());
        match self.inbox.open_existing(item.path.parent(), &name) {
            Ok(file) => {
                let key = self.part_name(&item).key;
                leftovers::clear_target(&mut self.inbox, item.path.parent(), &key);
                let unlike = !self.follow(&item, &file);
                let landing = Landing { kept: Some(name), unlike, ..landing(&item, None) };
                self.batch.add_file(now, landing, Some(File::from(file)), 0);
                None
            }
            // Somebody has taken it away since it was compared.
            Err(fault) => Some(Settled { index: item.index, path: item.path, outcome: fault.into(), renamed: None }),
        }
    }

    fn abandon(&mut self, item: &Offered, fault: Fault) {
        let Some(Writing::Part { name, file, since, .. }) = self.writing.take() else {
            return;
        };
        // What could be of use to the same transfer tried again stays; a stream cannot be.
        let resumable = matches!(fault, Fault::NoSpace | Fault::Cancelled | Fault::Denied)
            && file.offset() > 0
            && item.size.is_some();
        match (resumable, self.has_come_since(item, since)) {
            (_, true) => self.inbox.remove_late_part(item.path.parent(), &name),
            (false, false) => self.inbox.remove_part(item.path.parent(), &name),
            (true, false) => {}
        }
    }

    fn owed(&mut self, name: &[u8], given_up: &dyn Fn() -> bool) -> Result<Option<Owing>, Fault> {
        // Those of earlier transfers, and ours: whoever makes one later runs the command himself.
        let marks = match self.marks.take() {
            Some(marks) => marks,
            None => Marks::list(&mut self.inbox)?,
        };
        let which = owed::Item { name, is_ours_alone: self.overwrite == Overwrite::Rename };
        let owed = Marker(self.run).owed(&mut self.inbox, &marks, which, given_up);
        self.marks = Some(marks);
        Ok(owed?.map(Owing::Noted))
    }

    fn unkept(&self) -> Option<&(PathBuf, Unkept)> {
        self.inbox.unkept()
    }

    fn deadline(&self) -> Option<Instant> {
        self.batch.deadline()
    }

    fn commit(&mut self) -> Vec<Settled> {
        let landed = self.batch.commit(&mut self.inbox, self.overwrite);
        landed.into_iter().map(settled).collect()
    }

    fn finish(&mut self) -> Vec<(TreePath, Fault)> {
        self.directories.finish(&mut self.inbox, &self.sender)
    }
}

fn settled(landed: Landed) -> Settled {
    let Landed { index, path, result, unlike } = landed;
    let (outcome, name) = match result {
        Ok(FinalName::Already(name)) if unlike => (ItemOutcome::ExistsUnlike, Some(name)),
        Ok(FinalName::Already(name)) => (ItemOutcome::Exists, Some(name)),
        Ok(FinalName::Named(name)) => (ItemOutcome::Committed, Some(name)),
        Err(fault) => (fault.into(), None),
    };
    let renamed = name.filter(|name| name != path.name());
    Settled { index, path, outcome, renamed }
}
