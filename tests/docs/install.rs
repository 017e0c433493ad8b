//! `make install` puts the tools, their pages and completions where systems look for them, and `make uninstall` takes them
//! away again.

use super::{read, root};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use vp::cli::args::tools;

/// Runs a target on the tools that this test was built with.
fn make(target: &str, to: &Path) {
    let tools = Path::new(env!("CARGO_BIN_EXE_vp-relay")).parent().expect("a folder");
    let done = Command::new("sh")
        // Whoever installs may have a umask that would shut everybody else out.
        .args(["-c", "umask 077 && exec make \"$@\"", "make", target, "PREFIX=/usr"])
        .args([format!("DESTDIR={}", to.display()), format!("BINS={}", tools.display())])
        .env_remove("MAKEFLAGS")
        .current_dir(root())
        .output()
        .expect("make is installed");
    assert!(done.status.success(), "make {target}: {}", String::from_utf8_lossy(&done.stderr));
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(!said.contains("cargo"), "nothing is built: {said}");
}

/// Files and folders below, by path, with their modes.
fn below(folder: &Path) -> BTreeMap<String, u32> {
    let (mut found, mut folders) = (BTreeMap::new(), vec![folder.to_owned()]);
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).expect("a folder") {
            let path = entry.expect("an entry").path();
            let metadata = path.symlink_metadata().expect("it is there");
            let name = path.strip_prefix(folder).expect("below").to_string_lossy().into_owned();
            found.insert(name, metadata.permissions().mode() & 0o7777);
            if metadata.is_dir() {
                folders.push(path);
            }
        }
    }
    found
}

/// Where each file goes, and the one of this tree that it is a copy of, if it is one.
fn expected() -> BTreeMap<String, Option<String>> {
    let overview = |page: &str| (format!("usr/share/man/man7/{page}.7"), Some(format!("man/{page}.7")));
    let mut files = BTreeMap::from(["vp", "vp-events"].map(overview));
    for tool in tools() {
        let name = tool.manual.name;
        files.insert(format!("usr/bin/{name}"), None);
        for (to, from) in [
            (format!("man/man1/{name}.1"), format!("man/{name}.1")),
            (format!("bash-completion/completions/{name}"), format!("completions/bash/{name}")),
            (format!("zsh/site-functions/_{name}"), format!("completions/zsh/_{name}")),
            (format!("fish/vendor_completions.d/{name}.fish"), format!("completions/fish/{name}.fish")),
        ] {
            files.insert(format!("usr/share/{to}"), Some(from));
        }
    }
    files
}

#[test]
fn make_installs_everything_for_everybody_and_takes_it_away_again() {
    let home = tempfile::tempdir().expect("a directory");
    make("install", home.path());
    let (there, expected) = (below(home.path()), expected());
    for (path, mode) in &there {
        let folder = home.path().join(path).is_dir();
        let right = if folder || path.starts_with("usr/bin/") { 0o755 } else { 0o644 };
        assert_eq!(format!("{mode:o}"), format!("{right:o}"), "{path}");
        assert!(folder || expected.contains_key(path), "{path} is installed too");
    }
    for (path, source) in &expected {
        assert!(there.contains_key(path), "{path} is not installed");
        if let Some(source) = source {
            assert!(fs::read_to_string(home.path().join(path)).expect("text") == read(source), "{path}");
        }
    }
    let installed = home.path().join("usr/bin/vp-keygen");
    let said = Command::new(installed).arg("--version").output().expect("it runs").stdout;
    assert_eq!(String::from_utf8_lossy(&said), concat!("vp-keygen ", env!("CARGO_PKG_VERSION"), "\n"));

    make("uninstall", home.path());
    let left: Vec<_> = below(home.path()).into_keys().filter(|path| home.path().join(path).is_file()).collect();
    assert_eq!(left, Vec::<String>::new());
}
