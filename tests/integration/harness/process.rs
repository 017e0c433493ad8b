//! One program under test: how it is started, watched, talked to and ended. It never outlives its handle, and no wait
//! outlives its deadline: when one passes, the process group is killed and the test fails with everything that was seen.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, kill_process_group, pidfd_open};

use super::data::Random;
use super::done::{Done, head};
use super::terminal::Terminal;

/// Everything a test waits for comes within this time, or the test fails. Generous: machines that run tests are shared.
pub const DEADLINE: Duration = Duration::from_secs(60);
/// Kept of an output for the reader of a failure, bytes. Counting and hashing go on beyond it.
const KEPT_BYTES: usize = 1 << 20;

/// What a program reads.
pub enum Input {
    /// Nothing: `/dev/null`.
    Null,
    /// These bytes, then the end.
    Bytes(Vec<u8>),
    /// So many bytes of [`Random`] with this seed, then the end.
    Random { seed: u64, bytes: u64 },
    /// Whatever the test writes with [`Running::write`].
    Held,
    /// A descriptor of the test's own.
    Passed(OwnedFd),
}

/// Where a program's standard output goes.
pub enum Output {
    /// Counted, hashed, and the first megabyte kept.
    Seen,
    /// Into a pipe that nobody reads until [`Running::read_on`].
    Blocked,
    /// A file.
    File(PathBuf),
    /// A descriptor of the test's own.
    Passed(OwnedFd),
}

/// A program that is about to be started.
pub struct Tool {
    words: Vec<OsString>,
    under: Vec<OsString>,
    detached: bool,
    env: Vec<(OsString, OsString)>,
    home: PathBuf,
    input: Input,
    output: Output,
    deadline: Duration,
}

impl Tool {
    /// `program` with an environment of its own, rooted at `home`.
    pub fn new(program: impl AsRef<OsStr>, home: &Path) -> Tool {
        Tool {
            words: vec![program.as_ref().to_owned()],
            under: Vec::new(),
            detached: false,
            env: Vec::new(),
            home: home.to_owned(),
            input: Input::Null,
            output: Output::Seen,
            deadline: DEADLINE,
        }
    }

    /// Adds an argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Tool {
        self.words.push(arg.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    pub fn args<S: AsRef<OsStr>>(self, args: impl IntoIterator<Item = S>) -> Tool {
        args.into_iter().fold(self, Tool::arg)
    }

    /// Sets a variable of the otherwise scrubbed environment.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Tool {
        self.env.push((name.into(), value.as_ref().to_owned()));
        self
    }

    /// Starts the program through another that becomes it, such as `prlimit --nofile=64 --`.
    pub fn under<S: AsRef<OsStr>>(mut self, words: impl IntoIterator<Item = S>) -> Tool {
        self.under.extend(words.into_iter().map(|word| word.as_ref().to_owned()));
        self
    }

    /// Starts it in a session of its own, away from the terminal of whoever runs the tests: SIGHUP means something else
    /// where there is one.
    pub fn detached(mut self) -> Tool {
        self.detached = true;
        self
    }

    /// Starts it with this as its controlling terminal, in the foreground there, and as descriptor 9.
    pub fn at_terminal(self, terminal: &Terminal) -> Tool {
        self.detached().under(terminal.opened_as("9<>"))
    }

    /// Sets standard input.
    pub fn input(mut self, input: Input) -> Tool {
        self.input = input;
        self
    }

    /// Sets standard output.
    pub fn output(mut self, output: Output) -> Tool {
        self.output = output;
        self
    }

    /// Replaces the deadline, for what is meant to run long.
    pub fn within(mut self, deadline: Duration) -> Tool {
        self.deadline = deadline;
        self
    }

    /// The command line as a person would type it.
    pub fn line(&self) -> String {
        let words: Vec<_> = self.under.iter().chain(&self.words).map(|word| word.to_string_lossy()).collect();
        words.join(" ")
    }

    /// The command line with each word quoted for a shell.
    pub fn shell_line(&self) -> String {
        let quoted = |word: &OsString| format!("'{}'", word.to_string_lossy().replace('\'', r"'\''"));
        self.under.iter().chain(&self.words).map(quoted).collect::<Vec<_>>().join(" ")
    }

    /// Starts it.
    pub fn spawn(self) -> Running {
        let line = self.line();
        let (stdin, feed) = match self.input {
            Input::Null => (Stdio::null(), None),
            Input::Held => (Stdio::piped(), None),
            Input::Passed(descriptor) => (descriptor.into(), None),
            Input::Bytes(bytes) => (Stdio::piped(), Some(Box::new(io::Cursor::new(bytes)) as Box<dyn Read + Send>)),
            Input::Random { seed, bytes } => (Stdio::piped(), Some(Box::new(Random::new(seed).take(bytes)) as _)),
        };
        let (stdout, flowing) = match self.output {
            Output::Seen => (Stdio::piped(), true),
            Output::Blocked => (Stdio::piped(), false),
            Output::File(path) => (File::create(path).expect("the output file").into(), true),
            Output::Passed(descriptor) => (descriptor.into(), true),
        };
        let detaching = OsString::from("setsid");
        let detached = Some(&detaching).filter(|_| self.detached);
        let words: Vec<_> = detached.into_iter().chain(&self.under).chain(&self.words).collect();
        let started = Instant::now();
        let mut command = Command::new(words[0]);
        if !self.detached {
            command.process_group(0);
        }
        let mut child = command
            .args(&words[1..])
            .env_clear()
            .envs(scrubbed(&self.home))
            .envs(self.env)
            .current_dir(&self.home)
            .stdin(stdin)
            .stdout(stdout)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{line}: {error}"));
        let mut stdin = child.stdin.take();
        if let Some(mut from) = feed {
            let mut to = stdin.take().expect("a piped standard input");
            // The program may end before it has read everything; what it did read shows in what it did.
            std::thread::spawn(move || io::copy(&mut from, &mut to));
        }
        let out = Watched::of(child.stdout.take(), flowing);
        let err = Watched::of(child.stderr.take(), true);
        Running { line, child, stdin, out, err, deadline: started + self.deadline, started, status: None }
    }

    /// Starts it and waits for its end.
    pub fn run(self) -> Done {
        self.spawn().wait()
    }
}

/// Nothing of the tester's own environment but where programs are.
fn scrubbed(home: &Path) -> Vec<(&'static str, OsString)> {
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
    let mut set = vec![("PATH", path), ("HOME", home.into()), ("TMPDIR", home.into()), ("LANG", "C.UTF-8".into())];
    // A coverage run needs its own; nothing else passes.
    set.extend(std::env::var_os("LLVM_PROFILE_FILE").map(|file| ("LLVM_PROFILE_FILE", file)));
    set
}

/// What has been read from a pipe so far.
struct Seen {
    kept: Vec<u8>,
    bytes: u64,
    hasher: blake3::Hasher,
    ended: bool,
    flowing: bool,
}

/// A pipe, read by a thread of its own so that nobody ever blocks on it.
struct Watched {
    seen: Mutex<Seen>,
    news: Condvar,
}

impl Watched {
    fn of(pipe: Option<impl Read + Send + 'static>, flowing: bool) -> Arc<Watched> {
        let ended = pipe.is_none();
        let seen = Seen { kept: Vec::new(), bytes: 0, hasher: blake3::Hasher::new(), ended, flowing };
        let watched = Arc::new(Watched { seen: Mutex::new(seen), news: Condvar::new() });
        if let Some(pipe) = pipe {
            let mine = Arc::clone(&watched);
            std::thread::spawn(move || mine.drain(pipe));
        }
        watched
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().expect("no reader panics")
    }

    fn drain(&self, mut pipe: impl Read) {
        let mut buffer = vec![0; 64 << 10];
        loop {
            drop(self.news.wait_while(self.lock(), |seen| !seen.flowing).expect("no reader panics"));
            let read = pipe.read(&mut buffer).unwrap_or(0);
            let mut seen = self.lock();
            seen.bytes += read as u64;
            seen.hasher.update(&buffer[..read]);
            let keep = read.min(KEPT_BYTES - seen.kept.len());
            seen.kept.extend_from_slice(&buffer[..keep]);
            seen.ended = read == 0;
            drop(seen);
            self.news.notify_all();
            if read == 0 {
                return;
            }
        }
    }

    /// Waits until `enough` holds; false when the pipe ended or the deadline passed before.
    fn wait(&self, deadline: Instant, mut enough: impl FnMut(&Seen) -> bool) -> bool {
        let left = deadline.saturating_duration_since(Instant::now());
        let wait = |seen: &mut Seen| !seen.ended && !enough(seen);
        let (seen, _) = self.news.wait_timeout_while(self.lock(), left, wait).expect("no reader panics");
        enough(&seen)
    }
}

/// A program that runs. Dropping it kills its process group.
pub struct Running {
    line: String,
    child: Child,
    stdin: Option<ChildStdin>,
    out: Arc<Watched>,
    err: Arc<Watched>,
    started: Instant,
    deadline: Instant,
    status: Option<ExitStatus>,
}

impl Running {
    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Writes to a held standard input.
    pub fn write(&mut self, bytes: &[u8]) {
        let stdin = self.stdin.as_mut().expect("standard input is held by the test");
        stdin.write_all(bytes).unwrap_or_else(|error| panic!("{}: standard input: {error}\n{self}", self.line));
    }

    /// Ends a held standard input.
    pub fn close_input(&mut self) {
        self.stdin = None;
    }

    /// Lets a blocked standard output be read.
    pub fn read_on(&self) {
        self.out.lock().flowing = true;
        self.out.news.notify_all();
    }

    /// How many threads of this name it has.
    pub fn threads(&self, name: &str) -> usize {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.pid())).expect("threads");
        let names = tasks.flatten().filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
        names.filter(|found| found.trim_end() == name).count()
    }

    /// Bytes of standard output so far.
    pub fn out_bytes(&self) -> u64 {
        self.out.lock().bytes
    }

    /// Waits for so many bytes of standard output.
    pub fn wait_bytes(&self, bytes: u64) {
        assert!(self.out.wait(self.deadline, |seen| seen.bytes >= bytes), "waited for {bytes} bytes\n{self}");
    }

    /// Waits until standard output is exactly these bytes.
    pub fn wait_output(&self, expected: &[u8]) {
        let got = self.out.wait(self.deadline, |seen| seen.kept.len() >= expected.len());
        let kept = self.out.lock().kept.clone();
        assert!(got && kept == expected, "waited for {:?}\n{self}", String::from_utf8_lossy(expected));
    }

    /// Waits for a line of standard output that begins with `start`; returns it.
    pub fn wait_line(&self, start: &str) -> String {
        self.line_of(&self.out, start, |line| line.starts_with(start))
    }

    /// Waits for a line of standard output that is as wanted, which is called `what` should it not come; returns it.
    pub fn wait_line_like(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        self.line_of(&self.out, what, wanted)
    }

    /// Waits for a line of standard error that begins with `start`; returns it.
    pub fn wait_error_line(&self, start: &str) -> String {
        self.line_of(&self.err, start, |line| line.starts_with(start))
    }

    /// Waits for a line of standard error that is as wanted, and yields it.
    #[track_caller]
    pub fn wait_error_line_like(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        self.line_of(&self.err, what, wanted)
    }

    /// Standard error so far.
    pub fn error_text(&self) -> String {
        String::from_utf8_lossy(&self.err.lock().kept).into_owned()
    }

    fn line_of(&self, pipe: &Watched, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let mut found = None;
        pipe.wait(self.deadline, |seen| {
            let whole = seen.kept.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n"));
            let mut lines = whole.map(|line| String::from_utf8_lossy(line).trim_end().to_owned());
            found = lines.find(|line| wanted(line));
            found.is_some()
        });
        found.unwrap_or_else(|| panic!("waited for a line {what:?}\n{self}"))
    }

    /// Sends a signal to the program itself.
    pub fn signal(&self, signal: Signal) {
        if self.status.is_none() {
            kill_process(Pid::from_child(&self.child), signal).expect("a child that is not yet waited for");
        }
    }

    /// `kill -9` of the program and of what it started, and the wait for its end.
    pub fn kill(self) -> Done {
        self.kill_group();
        self.wait()
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        !self.ended_by(Instant::now())
    }

    /// Peak of the resident memory, KiB, while it runs.
    pub fn peak_kib(&self) -> u64 {
        proc_number(self.pid(), "VmHWM:")
    }

    /// Processor time used so far, hundredths of a second, while it runs.
    pub fn cpu_ticks(&self) -> u64 {
        cpu_ticks_of(self.pid())
    }

    /// Waits for the end, however it ends. A passed deadline fails the test.
    pub fn wait(mut self) -> Done {
        if !self.ended_by(self.deadline) {
            panic!("still running after {:?}\n{self}", self.started.elapsed());
        }
        let took = self.started.elapsed();
        let status = self.reap();
        // What it started may hold the pipes a little longer; nobody waits for that longer than this.
        let patience = Instant::now() + Duration::from_secs(5);
        self.out.wait(patience, |_| false);
        self.err.wait(patience, |_| false);
        let (out, err) = (self.out.lock(), self.err.lock());
        Done {
            line: self.line.clone(),
            status,
            stdout: out.kept.clone(),
            bytes: out.bytes,
            digest: out.hasher.finalize(),
            stderr: String::from_utf8_lossy(&err.kept).into_owned(),
            took,
        }
    }

    /// Waits for the end until `deadline`; tells whether it came.
    pub fn ended_by(&mut self, deadline: Instant) -> bool {
        if self.status.is_some() {
            return true;
        }
        let pidfd = pidfd_open(Pid::from_child(&self.child), PidfdFlags::empty()).expect("a child not yet waited for");
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let left = Timespec::try_from(left).expect("a deadline within an age");
            match poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&left)) {
                Ok(0) => return false,
                Ok(_) => return true,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => panic!("poll of a process: {error}"),
            }
        }
    }

    fn reap(&mut self) -> ExitStatus {
        // Whatever the program left behind in its group goes with it, while the group's number is still ours.
        if self.status.is_none() {
            self.kill_group();
        }
        let status = self.child.wait().expect("our own child");
        self.status = Some(status);
        status
    }

    fn kill_group(&self) {
        // A group that has no process left is what is wanted; one that is not there yet is a process that is about to lead it.
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let _ = kill_process(Pid::from_child(&self.child), Signal::KILL);
    }
}

/// Processor time that a process has used so far, hundredths of a second, while it runs.
pub fn cpu_ticks_of(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("a running process");
    let fields = stat.rsplit(')').next().expect("after the name").split_whitespace();
    fields.skip(11).take(2).map(|word| word.parse::<u64>().expect("a number")).sum()
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.status.is_none() {
            if std::thread::panicking() {
                super::tell(&format!("was running when the test failed:\n{self}"));
            }
            self.reap();
        }
    }
}

impl fmt::Display for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (out, err) = (self.out.lock(), self.err.lock());
        writeln!(f, "  command: {}", self.line)?;
        writeln!(f, "  stdout:  {} bytes {:?}", out.bytes, head(&String::from_utf8_lossy(&out.kept)))?;
        writeln!(f, "  stderr:  {}", String::from_utf8_lossy(&err.kept))
    }
}

/// A number of `/proc/PID/status`.
pub fn proc_number(pid: u32, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a running process");
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("no {name}"));
    line.split_whitespace().next().and_then(|word| word.parse().ok()).expect("a number")
}
