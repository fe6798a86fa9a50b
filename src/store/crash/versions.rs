//! What a crash, an error or another upload leaves of the versions that are kept.

use super::*;
use crate::query::Query;
use crate::store::Store;
use crate::store::disk::{Directory as _, Lookup};
use crate::transfer::Sink;
use crate::wire::Operation;
use std::net::{IpAddr, Ipv4Addr};

const FILE: &str = "there/sw.cfg";
const KEPT: u16 = 2;

/// The bytes of the upload of this number.
fn contents(upload: u8) -> Vec<u8> {
    vec![b'0' + upload; 5000]
}

fn begin(disk: &Disk, upload: u8) -> io::Result<Box<dyn Sink>> {
    let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let query = Query::new((local, 2000).into(), local, Operation::Write, FILE);
    let mut sink = disk.keeping(KEPT).write(&query).map_err(io::Error::other)?;
    sink.write(&contents(upload))?;
    Ok(sink)
}

fn store(disk: &Disk, upload: u8) -> io::Result<()> {
    begin(disk, upload)?.commit()
}

/// A disk on which uploads were stored, the last of this number.
fn after(uploads: u8, fault: Option<Call>) -> Disk {
    let disk = Disk::new();
    disk.put("there/beside", b"beside", 0o644);
    disk.fail(move |_, call| (fault == Some(call)).then_some(Errno::OPNOTSUPP));
    for upload in 1..=uploads {
        store(&disk, upload).expect("stored");
    }
    disk
}

/// The numbers of the uploads that are there, by their names.
fn found(disk: &Disk) -> BTreeMap<String, u8> {
    let files = disk.tree().into_iter().filter_map(|(path, bytes)| Some((path, bytes?)));
    let name = |path: PathBuf| path.display().to_string();
    let files = files.map(|(path, bytes)| (name(path), bytes));
    let files = files.filter(|(name, _)| name.starts_with(FILE));
    let whole = |(name, bytes): (String, Vec<u8>)| {
        let upload = bytes.first().map_or(0, |byte| byte - b'0');
        assert!(bytes == contents(upload), "{name} is no whole upload");
        (name, upload)
    };
    files.map(whole).collect()
}

fn named(names: &[(&str, u8)]) -> BTreeMap<String, u8> {
    names.iter().map(|(name, upload)| (format!("{FILE}{name}"), *upload)).collect()
}

/// With names from the start, and without.
const WAYS: [Option<Call>; 2] = [None, Some(Call::CreateUnnamed)];

#[test]
fn so_many_versions_are_kept_and_the_oldest_goes_first() {
    for way in WAYS {
        assert_eq!(found(&after(1, way)), named(&[("", 1)]));
        assert_eq!(found(&after(2, way)), named(&[("", 2), (".~1~", 1)]));
        assert_eq!(found(&after(3, way)), named(&[("", 3), (".~1~", 1), (".~2~", 2)]));
        assert_eq!(found(&after(4, way)), named(&[("", 4), (".~2~", 2), (".~3~", 3)]));
    }
}

#[test]
fn a_crash_at_any_call_loses_neither_the_file_nor_a_version_that_is_kept() {
    for (way, before) in WAYS.into_iter().flat_map(|way| [1, 2, 3, 4].map(|before| (way, before))) {
        let next = before + 1;
        let whole = after(next, way).calls().len();
        for cut in after(before, way).calls().len()..=whole {
            let disk = after(before, way);
            disk.cut_before(cut);
            let is_done = store(&disk, next).is_ok();
            disk.every_left(|left| {
                let left = found(left);
                let when =
                    format!("{way:?}, {next} is cut before call {cut}, done: {is_done}: {left:?}");
                let current = left[FILE];
                assert!(current == next || (current == before && !is_done), "{when}");
                let oldest = current.saturating_sub(KEPT as u8).max(1);
                let uploads: BTreeSet<_> = left.values().copied().collect();
                assert!((oldest..=current).all(|upload| uploads.contains(&upload)), "{when}");
            });
            // What comes next finds its way, whatever is left.
            let left = disk.left(|_| 0);
            let stored = u16::from(found(&left)[FILE]);
            store(&left, 9).expect("stored");
            let names = found(&left);
            assert_eq!(names.len(), usize::from(KEPT.min(stored)) + 1, "{names:?}");
            let twice = names.values().collect::<BTreeSet<_>>().len() < names.len();
            assert!(!twice, "{names:?}");
        }
    }
}

#[test]
fn an_error_of_any_call_before_the_new_file_is_there_leaves_all_as_it_was() {
    for way in WAYS {
        let first = after(3, way).calls().len();
        let calls = after(4, way).calls();
        for (at, call) in calls.iter().enumerate().skip(first) {
            let disk = after(3, way);
            let before = found(&disk);
            disk.fail(move |number, call| match call {
                _ if number == at => Some(Errno::IO),
                _ => (way == Some(call)).then_some(Errno::OPNOTSUPP),
            });
            let done = store(&disk, 4);
            let renamed = calls[first..at].contains(&Call::RenameOver);
            let when = format!("{way:?}: {call:?}, {:?}: {done:?}", &calls[first..at]);
            // Of what is done before it is replaced, these may fail; afterwards the oldest may stay.
            let mut may_fail = vec![Call::Lock, Call::Room, Call::Look, Call::RemoveFile];
            may_fail.extend(renamed.then_some(Call::ReadDirectory));
            assert!(done.is_err() || may_fail.contains(call), "it is not told: {when}");
            if *call == Call::ReadDirectory && !renamed {
                let kind = done.as_ref().map_err(io::Error::kind);
                assert_eq!(kind, Err(io::ErrorKind::PermissionDenied), "{when}");
            }
            if done.is_err() && !renamed {
                assert_eq!(found(&disk), before, "{when}");
            } else {
                let left = found(&disk);
                assert_eq!((left[FILE], left[&format!("{FILE}.~3~")]), (4, 3), "{when}");
                // A crash may still bring the file before it back.
                let is_kept = left.contains_key(&format!("{FILE}.~1~"));
                assert!(done.is_ok() || is_kept, "the oldest version is gone already: {when}");
            }
        }
    }
}

#[test]
fn while_nobody_knows_that_the_new_file_lasts_no_version_is_removed() {
    for way in WAYS {
        let calls = after(4, way).calls();
        let renamed = calls.iter().rposition(|call| *call == Call::RenameOver).expect("a rename");
        let synced = calls[renamed..].iter().position(|call| *call == Call::SyncDirectory);
        let last = renamed + synced.expect("a sync");
        let disk = after(3, way);
        disk.fail(move |number, call| match call {
            _ if number == last => Some(Errno::IO),
            _ => (way == Some(call)).then_some(Errno::OPNOTSUPP),
        });
        store(&disk, 4).expect_err("it cannot be synced");
        let all = named(&[("", 4), (".~1~", 1), (".~2~", 2), (".~3~", 3)]);
        assert_eq!(found(&disk), all, "{way:?}: a crash may take the new file back");
    }
}

#[test]
fn what_cannot_be_kept_is_not_replaced() {
    let disk = after(1, None);
    disk.fail(|_, call| (call == Call::HardLink).then_some(Errno::PERM));
    let refused = store(&disk, 2).expect_err("there are no second names");
    assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied, "{refused}");
    disk.fail(|_, _| None);
    disk.state().is_fixed = true;
    begin(&disk, 2).map(drop).expect_err("it would be written over");
    assert_eq!(found(&disk), named(&[("", 1)]));
}

#[test]
fn a_version_that_an_upload_before_has_made_stays_where_this_one_fails() {
    let disk = after(1, None);
    let name = OsStr::new("sw.cfg");
    let within = disk.root().directory(Path::new("there"), Lookup::Own).expect("it opens");
    within.hard_link(name, &within, OsStr::new("sw.cfg.~1~")).expect("a version");
    let before = found(&disk);
    disk.fail(|_, call| (call == Call::RenameOver).then_some(Errno::IO));
    store(&disk, 2).expect_err("it cannot be replaced");
    assert_eq!(found(&disk), before);
    disk.fail(|_, _| None);
    store(&disk, 3).expect("stored");
    assert_eq!(found(&disk), named(&[("", 3), (".~1~", 1)]), "it is kept once");
}

#[test]
fn behind_the_last_number_nothing_is_replaced() {
    let disk = after(1, None);
    // A client may have made it while no versions were kept.
    disk.put("there/sw.cfg.~999999999~", &contents(7), 0o644);
    let refused = store(&disk, 2).expect_err("there is no number");
    assert!(refused.to_string().contains("remove that version"), "{refused}");
    assert_eq!(found(&disk), named(&[("", 1), (".~999999999~", 7)]));
    let disk = after(1, None);
    disk.put("there/sw.cfg.~999999998~", &contents(7), 0o644);
    store(&disk, 2).expect("the last number is free");
    assert_eq!(found(&disk), named(&[("", 2), (".~999999998~", 7), (".~999999999~", 1)]));
}

#[test]
fn numbers_have_gaps_and_those_of_other_files_do_not_count() {
    let disk = after(1, None);
    for (number, upload) in [(3, 7), (9, 8), (10, 9)] {
        disk.put(&format!("{FILE}.~{number}~"), &contents(upload), 0o644);
    }
    let others = ["there/xsw.cfg.~1~", "there/sw.~99~", "sw.cfg.~99~"];
    others.iter().for_each(|other| disk.put(other, b"another's", 0o644));
    store(&disk, 2).expect("stored");
    let kept = named(&[("", 2), (".~10~", 9), (".~11~", 1)]);
    assert_eq!(found(&disk), kept, "the highest number is the newest");
    for other in others {
        assert_eq!(disk.bytes(other).as_deref(), Some(&b"another's"[..]), "{other}");
    }
}

#[test]
fn of_uploads_that_end_together_each_is_kept() {
    let disk = after(1, None);
    let mut sinks = [2, 3].map(|upload| begin(&disk, upload).expect("an upload"));
    for sink in &mut sinks {
        sink.commit().expect("stored");
    }
    assert_eq!(found(&disk), named(&[("", 3), (".~1~", 1), (".~2~", 2)]));
    let disk = after(1, None);
    std::thread::scope(|scope| {
        for upload in [2, 3] {
            let disk = disk.clone();
            scope.spawn(move || store(&disk, upload).expect("stored"));
        }
    });
    let uploads: BTreeSet<_> = found(&disk).into_values().collect();
    assert_eq!(uploads, BTreeSet::from([1, 2, 3]));
}

#[test]
fn no_upload_has_the_name_of_a_version() {
    let disk = after(2, None);
    let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let query = |name| Query::new((local, 2000).into(), local, Operation::Write, name);
    for name in ["there/sw.cfg.~1~", "new.~7~"] {
        let refused = disk.keeping(KEPT).write(&query(name)).map(drop).expect_err(name);
        assert_eq!(refused.text(), "a reserved name");
    }
    // Where none are kept, it is a name like others.
    let plain = disk.serve(crate::store::Uploads::Overwrite, false);
    plain.write(&query("there/sw.cfg.~1~")).map(drop).expect("a sink");
}
