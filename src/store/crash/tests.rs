use super::handles::ROOM;
use super::*;
use crate::query::Query;
use crate::store::disk::{Directory, Lookup, NewFile};
use crate::store::temporary::is_temporary;
use crate::store::versions::SUFFIX_BYTES;
use crate::store::{Store, StoreError, Uploads};
use crate::transfer::{MayWait, Sink};
use crate::wire::{ErrorCode, Operation, Options, TransferOption};
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr};

/// Who writes a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writer {
    Server(Uploads),
    Client,
}

/// One file that is written, and on what kind of file system.
#[derive(Clone, Copy, Debug)]
struct Case {
    writer: Writer,
    path: &'static str,
    /// Whether there is an old file.
    replaces: bool,
    has_unnamed: bool,
    has_noreplace: bool,
}

const OLD_MODE: u32 = 0o640;
const NEW_MODE: u32 = 0o644;

const OLD: &[u8] = &[b'o'; 7000];

/// More than a buffer holds, so that some of it is written before the end.
const NEW: &[u8] = &[b'n'; 9000];

fn query(path: &str) -> Query {
    let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
    Query::new((local, 2000).into(), local, Operation::Write, path)
}

fn cases() -> Vec<Case> {
    let (create, overwrite) = (Writer::Server(Uploads::Create), Writer::Server(Uploads::Overwrite));
    let mut cases = Vec::new();
    for writer in [create, overwrite, Writer::Client] {
        for path in ["file", "there/file", "made/file", "there/made/on/the/way/file"] {
            for bits in 0..8 {
                let [replaces, has_unnamed, has_noreplace] = [1, 2, 4].map(|bit| bits & bit != 0);
                let makes = path.contains("made");
                if (makes && (replaces || writer == Writer::Client))
                    || (replaces && writer == create)
                {
                    continue;
                }
                cases.push(Case { writer, path, replaces, has_unnamed, has_noreplace });
            }
        }
    }
    cases
}

impl Case {
    /// What there is before.
    fn disk(self) -> Disk {
        let disk = Disk::new();
        disk.put("beside", b"beside", 0o644);
        disk.put("there/beside", b"beside", 0o644);
        if self.replaces {
            disk.put(self.path, OLD, OLD_MODE);
        }
        self.fail_at(&disk, usize::MAX, Errno::IO);
        disk
    }

    /// The call of this number gets this error; others get those of the file system.
    fn fail_at(self, disk: &Disk, at: usize, error: Errno) {
        disk.fail(move |number, call| match call {
            _ if number == at => Some(error),
            Call::CreateUnnamed if !self.has_unnamed => Some(Errno::OPNOTSUPP),
            Call::RenameNew if !self.has_noreplace => Some(Errno::INVAL),
            _ => None,
        });
    }

    fn open(self, disk: &Disk) -> Result<Box<dyn Sink>, StoreError> {
        match self.writer {
            Writer::Server(uploads) => disk.serve(uploads, true).write(&query(self.path)),
            Writer::Client => disk.whole_file(self.path),
        }
    }

    fn run(self, disk: &Disk) -> Result<(), StoreError> {
        let mut sink = self.open(disk)?;
        for bytes in NEW.chunks(512) {
            sink.write(bytes)?;
        }
        Ok(sink.commit()?)
    }

    /// The calls of the whole upload.
    fn calls(self) -> Vec<Call> {
        let disk = self.disk();
        self.run(&disk).unwrap_or_else(|error| panic!("{self:?}: {error}"));
        assert_eq!(disk.bytes(self.path).as_deref(), Some(NEW), "{self:?}");
        disk.calls()
    }

    fn before(self) -> Option<&'static [u8]> {
        self.replaces.then_some(OLD)
    }

    /// The mode that the new file has.
    fn mode(self) -> u32 {
        if self.replaces { OLD_MODE } else { NEW_MODE }
    }

    /// Names beside the file and what was there before.
    fn strays(self, disk: &Disk) -> Vec<PathBuf> {
        let mut tree = disk.tree();
        for kept in ["beside", "there/beside"] {
            let bytes = tree.remove(Path::new(kept)).flatten();
            assert_eq!(bytes.as_deref(), Some(&b"beside"[..]), "{self:?}: {kept}");
        }
        tree.remove(Path::new("there")).expect("a directory that was there");
        tree.remove(Path::new(self.path));
        tree.into_keys().collect()
    }

    /// Looks at what a crash left.
    fn check(self, left: &Disk, is_done: bool, when: &str) {
        let found = left.bytes(self.path);
        let found = found.as_deref();
        let whole = found == Some(NEW);
        let shown = found.map(<[u8]>::len);
        assert!(whole || found == self.before(), "{self:?}, {when}: neither, {shown:?} bytes");
        assert!(whole || !is_done, "{self:?}, {when}: it was done, and is lost");
        if is_done {
            let mode = left.mode(self.path);
            assert_eq!(mode, self.mode(), "{self:?}, {when}");
        }
        for stray in self.strays(left) {
            let is_on_the_way = Path::new(self.path).starts_with(&stray);
            let is_swept = stray.file_name().is_some_and(is_temporary);
            assert!(is_on_the_way || is_swept, "{self:?}, {when}: {} stays", stray.display());
        }
    }
}

#[test]
fn a_crash_at_any_call_leaves_the_old_file_or_the_new_one_whole() {
    let mut looks = 0;
    for case in cases() {
        let calls = case.calls();
        for cut in 0..=calls.len() {
            let disk = case.disk();
            disk.cut_before(cut);
            let is_done = case.run(&disk).is_ok();
            let when = format!("cut after {:?}", &calls[..cut]);
            disk.every_left(|left| {
                case.check(left, is_done, &when);
                looks += 1;
            });
        }
    }
    assert!(looks > 2_000, "{looks} states are not all");
}

/// What may fail without a word: the file is safe all the same.
const MAY_FAIL: [Call; 5] = [Call::Lock, Call::SetMode, Call::Room, Call::Look, Call::RemoveFile];

#[test]
fn an_error_of_any_call_is_told_and_leaves_nothing() {
    for case in cases() {
        let calls = case.calls();
        for (at, call) in calls.iter().enumerate() {
            for error in [Errno::IO, Errno::NOSPC, Errno::DQUOT] {
                let disk = case.disk();
                case.fail_at(&disk, at, error);
                let done = case.run(&disk);
                let when = format!("{error:?} of the last of {:?}", &calls[..=at]);
                let is_last_sync =
                    *call == Call::SyncDirectory && !calls[at + 1..].contains(&Call::SyncDirectory);
                let found = disk.bytes(case.path);
                let found = found.as_deref();
                if done.is_ok() {
                    let is_late = *call == Call::Look && calls[..at].contains(&Call::SyncFile);
                    let may_fail = MAY_FAIL.contains(call) && !is_late;
                    assert!(may_fail, "{case:?}, {when}: it is not told");
                    assert_eq!(found, Some(NEW), "{case:?}, {when}");
                } else if is_last_sync && case.writer != Writer::Server(Uploads::Create) {
                    // The old file is gone by then; that the new one stays is not known.
                    assert_eq!(found, Some(NEW), "{case:?}, {when}");
                } else {
                    assert_eq!(disk.tree(), case.disk().tree(), "{case:?}, {when}");
                }
                if done.is_err() || *call != Call::RemoveFile {
                    let strays = case.strays(&disk);
                    let is_temporary = |name: &PathBuf| name.file_name().is_some_and(is_temporary);
                    assert!(!strays.iter().any(is_temporary), "{case:?}, {when}: {strays:?}");
                }
                let is_done = done.is_ok() && *call != Call::SetMode;
                if error == Errno::IO {
                    disk.every_left(|left| case.check(left, is_done, &when));
                }
            }
        }
    }
}

/// What a file system cannot do, and what becomes of an upload there that is cut off.
#[test]
fn where_a_file_cannot_take_its_name_in_one_step_it_does_so_the_next_best_way() {
    const POOR: [&[Call]; 5] = [
        &[Call::CreateUnnamed, Call::RenameNew, Call::HardLink],
        &[Call::CreateUnnamed, Call::RenameNew, Call::HardLink, Call::RenameOver],
        &[Call::Link, Call::HardLink, Call::RenameNew],
        &[Call::RenameOver],
        &[Call::SetMode],
    ];
    use Errno as E;
    let unnamed = [E::OPNOTSUPP, E::ISDIR, E::NOENT, E::INVAL, E::NOSYS, E::PERM];
    let others = [E::ACCESS, E::BUSY, E::TXTBSY, E::XDEV, E::ROFS, E::MLINK];
    let ways = [unnamed, others].concat();
    for case in cases() {
        for (poor, error) in
            POOR.into_iter().flat_map(|poor| ways.iter().map(move |error| (poor, *error)))
        {
            // Some of them say that no file is without a name.
            let says = move |call| {
                let is_other = call == Call::CreateUnnamed && !unnamed.contains(&error);
                poor.contains(&call).then_some(if is_other { E::OPNOTSUPP } else { error })
            };
            let disk = case.disk();
            disk.fail(move |_, call| says(call));
            let when = format!("{case:?}, {poor:?} {error:?}");
            case.run(&disk).unwrap_or_else(|failure| panic!("{when}: {failure}"));
            assert_eq!(disk.bytes(case.path).as_deref(), Some(NEW), "{when}");
            let strays = case.strays(&disk);
            let others = strays.iter().filter(|stray| !Path::new(case.path).starts_with(stray));
            assert_eq!(others.count(), 0, "{when}: {strays:?}");
            // What is acknowledged is safe in any way that it was done.
            disk.every_left(|left| {
                assert_eq!(left.bytes(case.path).as_deref(), Some(NEW), "{when}");
                assert_eq!(left.mode(case.path), case.mode(), "{when}");
            });

            // What cannot be copied in the end leaves no name behind, and what had it before as it was.
            for fails in [Call::CopyOver, Call::SyncFile] {
                let (disk, mut is_copied) = (case.disk(), false);
                disk.fail(move |_, call| {
                    is_copied |= call == Call::CopyOver;
                    let is_late = is_copied && call == fails;
                    is_late.then_some(Errno::NOSPC).or_else(|| says(call))
                });
                let is_told = case.run(&disk).is_err();
                assert_eq!(is_told, disk.calls().contains(&Call::CopyOver), "{when}: {fails:?}");
                if is_told && !(case.replaces && fails == Call::SyncFile) {
                    assert_eq!(disk.tree(), case.disk().tree(), "{when}: {fails:?} fails");
                }
            }

            // A name that somebody else has by then is not taken from him under `create`.
            if case.writer == Writer::Server(Uploads::Create) {
                let disk = case.disk();
                disk.fail(move |_, call| says(call));
                let mut sink = case.open(&disk).expect("an upload");
                disk.put(case.path, b"faster", NEW_MODE);
                let refused = sink.commit().expect_err("it is there");
                assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists, "{when}");
                assert_eq!(disk.bytes(case.path).as_deref(), Some(&b"faster"[..]), "{when}");
            }
        }
    }
}

/// What lets no file stand beside another one, or take its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Closed {
    By(Errno),
    Fixed,
}

const CLOSED: [Closed; 4] =
    [Closed::By(Errno::PERM), Closed::By(Errno::ACCESS), Closed::By(Errno::ROFS), Closed::Fixed];

impl Closed {
    /// The error of a call to a disk that is closed so.
    fn error(self, call: Call) -> Option<Errno> {
        let closed = [Call::CreateUnnamed, Call::CreateNamed, Call::RenameOver, Call::Link];
        match self {
            Self::By(error) => closed.contains(&call).then_some(error),
            Self::Fixed => None,
        }
    }

    fn disk(self, case: Case) -> Disk {
        let disk = case.disk();
        disk.fail(move |_, call| self.error(call));
        disk.state().is_fixed = self == Self::Fixed;
        disk
    }
}

#[test]
fn where_there_may_be_no_file_beside_it_a_file_is_written_over_when_the_new_one_is_whole() {
    for case in cases().into_iter().filter(|case| case.replaces) {
        for closed in CLOSED {
            let disk = closed.disk(case);
            let mut sink = case.open(&disk).expect("an upload");
            sink.write(NEW).expect("written");
            assert_eq!(disk.bytes(case.path).as_deref(), Some(OLD), "{case:?}");
            drop(sink);
            assert_eq!(disk.bytes(case.path).as_deref(), Some(OLD), "{case:?}");
            case.run(&disk).unwrap_or_else(|failure| panic!("{case:?}, {closed:?}: {failure}"));
            assert!(disk.calls().contains(&Call::CopyOver), "{case:?}, {closed:?}");
            disk.every_left(|left| {
                assert_eq!(left.bytes(case.path).as_deref(), Some(NEW), "{case:?}");
                assert_eq!(left.mode(case.path), OLD_MODE, "{case:?}");
            });
            // Where there is no room for it, the old one stays.
            disk.put(case.path, OLD, OLD_MODE);
            disk.fail(move |_, call| match call {
                Call::CopyOver => Some(Errno::NOSPC),
                call => closed.error(call),
            });
            let full = case.run(&disk).map_err(|failure| failure.code());
            assert_eq!(full, Err(ErrorCode::DiskFull), "{case:?}");
            // Nor does it begin where there is no place for it to wait.
            for (error, code) in
                [(Errno::NOSPC, ErrorCode::DiskFull), (Errno::ACCESS, ErrorCode::Undefined)]
            {
                let nowhere = move |call| (call == Call::Spool).then_some(error);
                disk.fail(move |_, call| nowhere(call).or_else(|| closed.error(call)));
                let refused = case.open(&disk).map(drop).map_err(|failure| failure.code());
                assert_eq!(refused, Err(code), "{case:?}, {closed:?}");
            }
            assert_eq!(disk.bytes(case.path).as_deref(), Some(OLD), "{case:?}");
        }
    }
}

/// It was replaced, removed, or may not be written any more while the upload came.
#[test]
fn what_is_written_over_is_what_has_the_name_at_the_end() {
    let cases = cases().into_iter().filter(|case| case.replaces);
    for (case, closed) in cases.flat_map(|case| CLOSED.map(|closed| (case, closed))) {
        let begun = || {
            let disk = closed.disk(case);
            let mut sink = case.open(&disk).expect("an upload");
            sink.write(NEW).expect("written");
            (disk, sink)
        };
        let (disk, mut sink) = begun();
        disk.put(case.path, b"another one", OLD_MODE);
        sink.commit().expect("committed");
        disk.every_left(|left| {
            assert_eq!(left.bytes(case.path).as_deref(), Some(NEW), "{case:?}");
        });

        let (disk, mut sink) = begun();
        let (root, path) = (disk.root(), Path::new(case.path));
        let within =
            root.directory(path.parent().expect("a directory"), Lookup::Own).expect("it opens");
        within.remove_file(path.file_name().expect("a name")).expect("removed");
        sink.commit().expect("committed");
        disk.every_left(|left| {
            assert_eq!(left.bytes(case.path).as_deref(), Some(NEW), "{case:?}");
        });

        // What has the name by then and cannot be opened is not taken for gone.
        let (disk, mut sink) = begun();
        disk.put(case.path, b"kept", OLD_MODE);
        let mut is_first = true;
        disk.fail(move |_, call| match call {
            Call::OpenToWrite if std::mem::take(&mut is_first) => Some(Errno::IO),
            _ => closed.error(call),
        });
        let failed = sink.commit().expect_err("it cannot be opened");
        assert_eq!(Errno::from_io_error(&failed), Some(Errno::IO), "{case:?}, {closed:?}");

        let (disk, mut sink) = begun();
        disk.put(case.path, b"kept", 0o444);
        let refused = sink.commit().expect_err("it may not be written");
        assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied, "{case:?}");
        assert_eq!(disk.bytes(case.path).as_deref(), Some(&b"kept"[..]), "{case:?}");
    }
}

#[test]
fn where_a_directory_cannot_be_synced_an_upload_goes_on() {
    for case in cases() {
        for error in [Errno::INVAL, Errno::OPNOTSUPP, Errno::NOSYS] {
            let disk = case.disk();
            disk.fail(move |_, call| (call == Call::SyncFile).then_some(error));
            case.run(&disk).unwrap_or_else(|failure| panic!("{case:?}, {error:?}: {failure}"));
            let disk = case.disk();
            disk.fail(move |_, call| (call == Call::SyncDirectory).then_some(error));
            case.run(&disk).unwrap_or_else(|failure| panic!("{case:?}, {error:?}: {failure}"));
            assert_eq!(disk.bytes(case.path).as_deref(), Some(NEW), "{case:?}");
            disk.every_left(|left| case.check(left, false, "without directories that last"));
        }
    }
}

#[test]
fn an_upload_to_a_network_may_wait_at_each_write() {
    for (is_remote, waits) in [(false, MayWait::OnCommit), (true, MayWait::Always)] {
        for case in cases() {
            for closed in [None, Some(Closed::Fixed)] {
                let disk = closed.map_or_else(|| case.disk(), |closed| closed.disk(case));
                disk.state().is_remote = is_remote;
                let sink = case.open(&disk).expect("an upload");
                assert_eq!(sink.may_wait(), waits, "{case:?}");
            }
        }
    }
}

/// An upload to its last block, which is not committed.
fn begun(disk: &Disk, uploads: Uploads, path: &str) -> Box<dyn Sink> {
    let mut sink = disk.serve(uploads, true).write(&query(path)).expect("an upload");
    sink.write(NEW).expect("written");
    sink
}

#[test]
fn what_is_stored_in_a_directory_that_another_upload_just_made_is_not_lost_with_it() {
    let paths =
        ["made/second", "made/on/the/second", "made/on/the/way/second", "made/on/other/second"];
    for (path, begins_later) in paths.map(|path| [(path, true), (path, false)]).concat() {
        // The first one gets so far, as if it were slow.
        let run = |calls: usize| {
            let disk = Disk::new();
            let mut first = begun(&disk, Uploads::Create, "made/on/the/way/first");
            let second = || begun(&disk, Uploads::Create, path);
            let earlier = (!begins_later).then(second);
            let from = disk.calls().len();
            disk.cut_before(from.saturating_add(calls));
            let _ = first.commit();
            let made = disk.calls()[from..].to_vec();
            disk.cut_before(usize::MAX);
            earlier.unwrap_or_else(second).commit().expect("committed");
            (disk, made)
        };
        for calls in 0..=run(usize::MAX).1.len() {
            let (disk, made) = run(calls);
            disk.every_left(|left| {
                let when = format!("{path}, begun later: {begins_later}, the first after {made:?}");
                assert_eq!(left.bytes(path).as_deref(), Some(NEW), "{when}");
            });
        }
    }
}

#[test]
fn a_name_that_another_upload_has_by_then_is_replaced_or_not_as_uploads_may() {
    for case in cases() {
        let Writer::Server(uploads) = case.writer else { continue };
        let disk = case.disk();
        let mut sink = case.open(&disk).expect("an upload");
        sink.write(NEW).expect("written");
        disk.put(case.path, b"faster", NEW_MODE);
        let kept = match (uploads, sink.commit()) {
            (Uploads::Create, Err(error)) if error.kind() == io::ErrorKind::AlreadyExists => {
                &b"faster"[..]
            }
            (Uploads::Overwrite, Ok(())) => NEW,
            (_, other) => panic!("{case:?}: {other:?}"),
        };
        // What its end does comes too late.
        disk.cut();
        drop(sink);
        disk.every_left(|left| {
            assert_eq!(left.bytes(case.path).as_deref(), Some(kept), "{case:?}");
        });
        let strays = case.strays(&disk);
        let others = strays.iter().filter(|stray| !Path::new(case.path).starts_with(stray));
        assert_eq!(others.count(), 0, "{case:?}: {strays:?}");
    }
}

#[test]
fn a_file_that_may_not_be_written_is_not_replaced_whenever_it_became_so() {
    for case in cases() {
        if case.writer == Writer::Server(Uploads::Create) {
            continue;
        }
        for mode in [0o444, 0o044, 0] {
            let disk = case.disk();
            disk.put(case.path, b"kept", mode);
            let calls = disk.calls().len();
            let refused = case.open(&disk).map(|_| ()).expect_err("it may not be written");
            assert!(refused.code() == ErrorCode::AccessViolation, "{case:?}: {refused}");
            let made = |call: &Call| matches!(call, Call::CreateUnnamed | Call::CreateNamed);
            assert!(!disk.calls()[calls..].iter().any(made), "{case:?}");

            let disk = case.disk();
            let mut sink = case.open(&disk).expect("an upload");
            sink.write(NEW).expect("written");
            disk.put(case.path, b"kept", mode);
            let refused = sink.commit().expect_err("it may not be written");
            assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied, "{case:?}");
            drop(sink);
            assert_eq!(disk.bytes(case.path).as_deref(), Some(&b"kept"[..]), "{case:?}");
            disk.every_left(|left| {
                assert_eq!(left.bytes(case.path).as_deref(), Some(&b"kept"[..]), "{case:?}");
            });
        }
    }
}

#[test]
fn a_file_is_synced_once_and_then_each_directory_that_has_a_new_name() {
    for case in cases() {
        let made = case.path.split_once("made").map_or(0, |(_, made)| made.matches('/').count());
        let above = usize::from(case.path.starts_with("there/") && case.writer != Writer::Client);
        let disk = case.disk();
        case.run(&disk).expect("committed");
        assert_eq!(disk.syncs(), (1, above + made + 1), "{case:?}");
    }
    let plain = Case {
        writer: Writer::Server(Uploads::Overwrite),
        path: "file",
        replaces: true,
        has_unnamed: true,
        has_noreplace: true,
    };
    let calls: Vec<_> = plain.calls().into_iter().filter(|call| *call >= Call::SyncFile).collect();
    let [link, over] = [Call::Link, Call::RenameOver];
    assert_eq!(calls, [Call::SyncFile, link, link, over, Call::SyncDirectory]);
}

#[test]
fn a_name_or_a_size_for_which_there_is_no_room_is_refused_at_once_and_no_other() {
    const LONGEST: usize = ROOM.longest_name as usize;
    let said = |versions, path: &str, size| {
        let disk = Disk::new();
        let served = match versions {
            0 => disk.serve(Uploads::Overwrite, true),
            _ => disk.keeping(versions),
        };
        let options = Options::NONE.with(TransferOption::TransferSize(size));
        let written = served.write(&Query { options, ..query(path) });
        written.map(drop).map_err(|error| error.text())
    };
    let too_long = Err("the name is too long");
    let name = |bytes| "n".repeat(bytes);
    assert_eq!(said(0, &name(LONGEST), 0), Ok(()));
    assert_eq!(said(0, &name(LONGEST + 1), 0), too_long);
    assert_eq!(said(0, &format!("made/{}/file", name(LONGEST)), 0), Ok(()));
    assert_eq!(said(0, &format!("made/{}/file", name(LONGEST + 1)), 0), too_long);
    // What is kept has a longer name.
    assert_eq!(said(1, &name(LONGEST - SUFFIX_BYTES), 0), Ok(()));
    assert_eq!(said(1, &name(LONGEST - SUFFIX_BYTES + 1), 0), too_long);
    assert_eq!(said(0, "file", ROOM.free), Ok(()));
    assert_eq!(said(0, "file", ROOM.free + 1), Err("larger than the free space"));
}

#[test]
fn what_is_not_synced_is_lost_in_all_ways() {
    let (temporary, file) = (OsStr::new("temporary"), OsStr::new("file"));
    // Which calls are made, in this order; and which lengths and zeros of the file are seen afterwards.
    let seen = |calls: &[Call]| {
        let disk = Disk::new();
        disk.put("file", b"before", OLD_MODE);
        let root = disk.root();
        let mut new = root.create(Some(temporary)).expect("a file");
        for call in calls {
            let made = match call {
                Call::Write => new.write(b"afterwards").map(|_| ()),
                Call::SyncFile => NewFile::sync(&new),
                Call::SyncDirectory => Directory::sync(&root),
                _ => root.rename(temporary, &root, file, true),
            };
            made.expect("made");
        }
        let mut seen = BTreeSet::new();
        disk.every_left(|left| {
            seen.insert(String::from_utf8(left.bytes("file").expect("a file")).expect("text"));
        });
        seen.into_iter().map(|text| text.replace('\0', "0")).collect::<Vec<_>>()
    };
    let lost = ["", "0000000000", "after", "after00000", "afterwards"];
    let [all, none] = ["afterwards", "before"];
    assert_eq!(seen(&[Call::Write, Call::SyncFile, Call::RenameOver, Call::SyncDirectory]), [all]);
    assert_eq!(seen(&[Call::Write, Call::SyncFile, Call::RenameOver]), [all, none]);
    assert_eq!(
        seen(&[Call::Write, Call::SyncFile, Call::SyncDirectory, Call::RenameOver]),
        [all, none]
    );
    assert_eq!(seen(&[Call::Write, Call::RenameOver, Call::SyncDirectory]), lost);
    assert_eq!(seen(&[Call::SyncFile, Call::Write, Call::RenameOver, Call::SyncDirectory]), lost);
    assert_eq!(seen(&[Call::Write, Call::RenameOver]), [&lost[..], &[none]].concat());
    assert_eq!(seen(&[Call::Write, Call::SyncFile]), [none]);
}
