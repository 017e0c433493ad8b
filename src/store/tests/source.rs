//! What a walk finds, and what it leaves out.

use super::*;
use crate::transfer::fault::DanglingLink;
use std::fs;
use std::os::unix::fs::symlink;

/// The paths of what a walk finds, and why it skips the rest.
fn shown(steps: &mut Walk) -> Vec<Result<String, Fault>> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    steps.map(|step| step.map(|found| text(found.path.as_bytes())).map_err(|skipped| skipped.fault)).collect()
}

fn found<const N: usize>(paths: [&str; N]) -> [Result<String, Fault>; N] {
    paths.map(|path| Ok(path.to_owned()))
}

/// All that a walk leaves out.
fn left_out(mut walk: Walk) -> Vec<(String, OmitReason)> {
    let met = std::iter::from_fn(|| walk.meet());
    met.filter_map(|met| match met {
        Met::LeftOut(LeftOut { path, why }) => Some((String::from_utf8(path).unwrap(), why)),
        Met::Item(_) => None,
    })
    .collect()
}

fn named((path, why): (&str, OmitReason)) -> (String, OmitReason) {
    (path.to_owned(), why)
}

#[test]
fn the_walk_is_sorted_and_parents_come_first() {
    let home = tempfile::tempdir().unwrap();
    let root = home.path().join("t");
    fs::create_dir_all(root.join("b/inner")).unwrap();
    fs::create_dir(root.join("a")).unwrap();
    for file in ["b/z", "b/inner/f", "a/y", "c"] {
        fs::write(root.join(file), "12345").unwrap();
    }
    symlink("../c", root.join("a/link")).unwrap();
    let expected = ["t", "t/a", "t/a/link", "t/a/y", "t/b", "t/b/inner", "t/b/inner/f", "t/b/z", "t/c"];
    assert_eq!(shown(&mut Walk::new(vec![root.clone()])), found(expected));
    assert_eq!(measure(Walk::new(vec![root.clone()]), 9), Some(Totals { items: 9, bytes: 20 }));
    assert_eq!(measure(Walk::new(vec![root]), 8), None);
}

#[test]
fn what_cannot_be_sent_is_named_and_the_rest_goes_on() {
    let home = tempfile::tempdir().unwrap();
    let root = home.path().join("t");
    fs::create_dir(&root).unwrap();
    symlink("/etc/passwd", root.join("abs")).unwrap();
    fs::write(root.join("bad\nname"), "").unwrap();
    fs::write(root.join("good"), "").unwrap();
    rustix::fs::mknodat(CWD, root.join("pipe"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    let missing = home.path().join("missing");
    let mut walk = Walk::new(vec![root.clone(), missing, root]);
    let [root, good] = found(["t", "t/good"]);
    let skipped = [Fault::Special, Fault::NotFound, Fault::Duplicate].map(Err);
    assert_eq!(shown(&mut walk), [&[root, Err(Fault::Name), good][..], &skipped].concat());
}

/// A tree with links of every kind, and what they lead to beside it.
fn linked(home: &Path) -> PathBuf {
    let root = home.join("t");
    fs::create_dir_all(root.join("d")).unwrap();
    fs::create_dir(home.join("beside")).unwrap();
    fs::write(home.join("beside/f"), "1234").unwrap();
    symlink("..", home.join("beside/up")).unwrap();
    for (name, target) in [
        ("back", ".."),
        ("d/inside", "../file"),
        ("d/self", "self"),
        ("here", "."),
        ("out", "../beside"),
        ("out-file", "../beside/f"),
    ] {
        symlink(target, root.join(name)).unwrap();
    }
    fs::write(root.join("file"), "12").unwrap();
    root
}

#[test]
fn links_are_kept_left_out_or_followed_and_the_left_ones_are_counted() {
    let home = tempfile::tempdir().unwrap();
    let root = linked(home.path());
    let walk = |links| {
        let told = left_out(Walk::new(vec![root.clone()]).with_links(links));
        assert!(told.iter().all(|(_, why)| *why == OmitReason::Link(links)), "{told:?}");
        let mut walk = Walk::new(vec![root.clone()]).with_links(links);
        let shown: Vec<String> = shown(&mut walk).into_iter().map(Result::unwrap).collect();
        let LeftLinks { count, first, .. } = walk.left_links().clone();
        assert_eq!(told.len(), usize::try_from(count).unwrap(), "{told:?}");
        (shown.join(" "), count, String::from_utf8(first).unwrap())
    };
    let kept = "t t/d t/d/inside t/d/self t/file t/here".to_owned();
    assert_eq!(walk(Links::Keep), (kept, 3, "t/back".into()), "those that lead out are not");
    assert_eq!(walk(Links::Skip), ("t t/d t/file".into(), 6, "t/back".into()));
    // The directory above is another one, once: what leads from there into one that is being listed is not.
    let (shown, count, first) = walk(Links::Follow);
    assert!(
        shown.starts_with("t t/back t/back/beside t/back/beside/f t/d t/d/inside t/file t/out t/out/f "),
        "{shown}"
    );
    assert_eq!((shown.matches("t/back/t").count(), shown.contains("here")), (0, false), "{shown}");
    assert_eq!((count, first.as_str()), (6, "t/back/beside/up"));
}

#[test]
fn what_a_link_led_to_is_what_is_opened() {
    let home = tempfile::tempdir().unwrap();
    let root = linked(home.path());
    let walk = Walk::new(vec![root.clone()]).with_links(Links::Follow);
    let found: Vec<Found> = walk
        .flatten()
        .filter(|found| found.path.as_bytes().ends_with(b"f") || found.path.as_bytes() == b"t/out-file")
        .collect();
    assert!(
        found.len() == 3
            && found.iter().all(|found| open(found, &mut Nearby::default()).is_ok() && found.stamp.size == 4),
        "{found:?}"
    );
    symlink("nowhere", root.join("dangling")).unwrap();
    let mut walk = Walk::new(vec![root]).with_links(Links::Follow);
    assert!(
        walk.any(|step| step.is_err_and(|skipped| skipped.fault == Fault::NotFound && skipped.path == b"t/dangling"))
    );
}

#[test]
fn a_link_that_leads_to_nothing_is_told_with_its_target_wherever_it_is_come_upon() {
    let home = tempfile::tempdir().unwrap();
    let root = home.path().join("t");
    fs::create_dir(&root).unwrap();
    fs::write(root.join("file"), "").unwrap();
    for (name, target) in [("one", "nowhere"), ("two", "one"), ("under", "file/x"), ("self", "self")] {
        symlink(target, root.join(name)).unwrap();
    }
    let told = |step: WalkItem| step.err().map(|skipped| (skipped.fault, skipped.dangling));
    let link = |target: &str, is_loop| {
        Some((Fault::NotFound, Some(DanglingLink { target: target.as_bytes().to_vec(), is_loop })))
    };
    let followed: Vec<_> = Walk::new(vec![root.clone()]).with_links(Links::Follow).filter_map(told).collect();
    assert_eq!(
        followed,
        [("nowhere", false), ("nowhere", false), ("file/x", false)].map(|it| link(it.0, it.1).unwrap())
    );
    for (name, target, is_loop) in
        [("one", "nowhere", false), ("two", "nowhere", false), ("under", "file/x", false), ("self", "self", true)]
    {
        let source = root.join(name);
        assert_eq!(told(Walk::new(vec![source.clone()]).next().unwrap()), link(target, is_loop), "{name}");
        let checked = check_named(&source).err().map(|skipped| (skipped.fault, skipped.dangling));
        assert_eq!(checked, link(target, is_loop), "{name}");
    }
    for name in ["absent", "file/x", "one/x"] {
        assert_eq!(told(Walk::new(vec![root.join(name)]).next().unwrap()), Some((Fault::NotFound, None)), "{name}");
    }
}

#[test]
fn a_key_in_use_is_left_out_however_it_is_reached_and_so_is_what_a_pattern_names() {
    let home = tempfile::tempdir().unwrap();
    let root = home.path().join("t");
    fs::create_dir_all(root.join("d/cache")).unwrap();
    for file in ["d/key", "a.log", "d/b.log", "d/keep.log", "d/cache/x", "d/c"] {
        fs::write(root.join(file), "").unwrap();
    }
    fs::hard_link(root.join("d/key"), root.join("other")).unwrap();
    rustix::fs::mknodat(CWD, root.join("d/pipe"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    let stat = rustix::fs::stat(root.join("d/key")).unwrap();
    let omit = |patterns: &[&str]| {
        let patterns: Vec<String> = patterns.iter().map(|pattern| (*pattern).to_owned()).collect();
        Omit::new(vec![(stat.st_dev, stat.st_ino)], &patterns).unwrap()
    };
    let walk = |patterns: &[&str]| Walk::new(vec![root.clone()]).without(omit(patterns));
    let all = ["t", "t/a.log", "t/d", "t/d/b.log", "t/d/c", "t/d/cache", "t/d/cache/x", "t/d/keep.log"];
    assert_eq!(shown(&mut walk(&[])), [&found(all)[..], &[Err(Fault::Special)]].concat());
    let mut some = walk(&["*.log", "!keep.log", "cache/", "pipe"]);
    assert_eq!(shown(&mut some), found(["t", "t/d", "t/d/c", "t/d/keep.log"]));
    // From the directory that is sent on, which is itself named by the user.
    assert_eq!(
        shown(&mut walk(&["/a.log", "/b.log", "t", "d/**/x", "pipe", "c*"])),
        found(["t", "t/d", "t/d/b.log", "t/d/keep.log"])
    );
    assert_eq!(left_out(walk(&[])), [("t/d/key", OmitReason::Key), ("t/other", OmitReason::Key)].map(named));
    let out = [
        ("t/a.log", OmitReason::Pattern),
        ("t/d/b.log", OmitReason::Pattern),
        ("t/d/cache", OmitReason::Pattern),
        ("t/d/key", OmitReason::Key),
        ("t/d/pipe", OmitReason::Pattern),
        ("t/other", OmitReason::Key),
    ];
    assert_eq!(left_out(walk(&["*.log", "!keep.log", "cache/", "pipe"])), out.map(named));
    // Named by itself, through a link.
    symlink(root.join("d/key"), home.path().join("link")).unwrap();
    assert_eq!(Walk::new(vec![home.path().join("link")]).without(omit(&[])).count(), 0);
    assert!(Omit::new(Vec::new(), &["[z-a]".to_owned()]).is_err());
}

#[test]
fn what_a_receiver_keeps_beside_its_files_is_left_out() {
    let home = tempfile::tempdir().unwrap();
    let root = home.path().join("t");
    fs::create_dir_all(root.join("d")).unwrap();
    let part = ".vp-part.00112233445566778899aabbccddeeff.0011223344556677.0123456789abcdef";
    for name in [part, ".vp-part.x", ".VP-OWED.x", "d/.vp-owed.y", "d/.vp-par"] {
        fs::write(root.join(name), "").unwrap();
    }
    assert_eq!(shown(&mut Walk::new(vec![root.clone()])), found(["t", "t/d", "t/d/.vp-par"]));
    // Who names one has to hear of it.
    assert_eq!(shown(&mut Walk::new(vec![root.join(part)])), [Err(Fault::Name)]);
}

#[test]
fn a_link_swapped_in_after_the_walk_is_not_followed() {
    let home = tempfile::tempdir().unwrap();
    let root = home.path().join("t");
    fs::create_dir_all(root.join("d")).unwrap();
    fs::write(root.join("d/f"), "inside").unwrap();
    let found = Walk::new(vec![root.clone()]).flatten().last().unwrap();
    let mut nearby = Nearby::default();
    assert!(open(&found, &mut nearby).is_ok());
    fs::create_dir(home.path().join("outside")).unwrap();
    fs::write(home.path().join("outside/f"), "secret").unwrap();
    fs::rename(root.join("d"), root.join("old")).unwrap();
    symlink("../outside", root.join("d")).unwrap();
    assert_eq!(open(&found, &mut Nearby::default()).unwrap_err(), Fault::Parent);
}

#[test]
fn copies_of_keys_are_left_out_of_trees_whoever_may_read_them_and_each_is_told() {
    let home = tempfile::tempdir().unwrap();
    let root = home.path().join("t");
    fs::create_dir_all(root.join("d")).unwrap();
    let text = crate::names::keyfile::encode(&crate::identity::Identity::from_seed(&[3; 32]));
    let put = |name: &str, text: &str, mode| {
        fs::write(root.join(name), text).unwrap();
        fs::set_permissions(root.join(name), std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    };
    put("d/copy", &text, 0o600);
    put("d/open", &text, 0o644);
    put("line", text.lines().nth(1).unwrap(), 0o644);
    put("noted", &format!("# of the depot\n{}", text.as_str()), 0o400);
    put("story", &format!("a key looks so:\n{}", text.as_str()), 0o600);
    put("long", &format!("{}{}", text.as_str(), "#".repeat(5_000)), 0o600);
    let mut walk = Walk::new(vec![root.clone()]);
    assert_eq!(shown(&mut walk), found(["t", "t/d", "t/long", "t/story"]));
    let copies = ["t/d/copy", "t/d/open", "t/line", "t/noted"].map(|path| (path, OmitReason::CopyOfKey));
    assert_eq!(left_out(Walk::new(vec![root.clone()])), copies.map(named));
    // Whoever names it means it.
    assert_eq!(shown(&mut Walk::new(vec![root.join("d/copy")])), found(["copy"]));
    // A pattern comes first.
    let omit = Omit::new(Vec::new(), &["d".to_owned(), "noted".to_owned()]).unwrap();
    let out = [("t/d", OmitReason::Pattern), ("t/line", OmitReason::CopyOfKey), ("t/noted", OmitReason::Pattern)];
    assert_eq!(left_out(Walk::new(vec![root]).without(omit)), out.map(named));
}
