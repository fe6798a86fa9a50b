//! What is told of what a file system cannot do, and of which file.

use super::*;
use crate::query::Query;
use crate::store::{Notice, Store, Uploads};
use crate::wire::{ErrorCode, Operation};
use std::net::{IpAddr, Ipv4Addr};

const PATH: &str = "there/file";

fn query(path: &str) -> Query {
    let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
    Query::new((local, 2000).into(), local, Operation::Write, path)
}

#[test]
fn what_a_file_system_cannot_do_is_told_by_its_own_name_and_of_the_file_that_showed_it() {
    let none: [fn(PathBuf) -> Notice; 0] = [];
    let new: &[Call] = &[Call::Link, Call::RenameNew, Call::HardLink];
    for (poor, error, replaces, expected) in [
        (&[][..], Errno::INVAL, true, &none[..]),
        (&[Call::SyncFile], Errno::INVAL, false, &[Notice::NotSynced]),
        (&[Call::SyncDirectory], Errno::INVAL, false, &none),
        (new, Errno::PERM, false, &[Notice::NamedFirst]),
        (&[Call::RenameOver], Errno::PERM, true, &[Notice::WrittenOver]),
    ] {
        let disk = Disk::new();
        disk.put(if replaces { PATH } else { "there/beside" }, b"old", 0o640);
        disk.fail(move |_, call| poor.contains(&call).then_some(error));
        let served = disk.serve(Uploads::Overwrite, false);
        let heard = served.heard();
        let mut sink = served.write(&query(PATH)).expect("an upload");
        sink.write(b"new").and_then(|()| sink.commit()).expect("stored");
        let expected: Vec<_> = expected.iter().map(|notice| notice(PATH.into())).collect();
        assert_eq!(heard.try_iter().collect::<Vec<_>>(), expected, "without {poor:?}");
    }
}

#[test]
fn a_new_file_that_may_not_stand_there_is_refused_for_that_and_for_nothing_else() {
    let made = [Call::CreateUnnamed, Call::CreateNamed];
    for (path, error) in [PATH, "made/file"]
        .into_iter()
        .flat_map(|path| [Errno::ACCESS, Errno::PERM].map(|error| (path, error)))
    {
        for uploads in [Uploads::Create, Uploads::Overwrite] {
            let disk = Disk::new();
            disk.put("there/beside", b"beside", 0o644);
            disk.fail(move |_, call| made.contains(&call).then_some(error));
            let refused = disk.serve(uploads, true).write(&query(path)).map(drop);
            let told = refused.map_err(|failure| failure.code());
            let denied = Err(ErrorCode::AccessViolation);
            assert_eq!(told, denied, "{path}, {uploads:?}, {error:?}: no old file is missing");
        }
    }
}
