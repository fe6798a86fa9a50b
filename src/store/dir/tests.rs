use super::*;
use crate::wire::Operation;
use std::os::unix::fs::{PermissionsExt, symlink};

fn query(operation: Operation, name: &str) -> Query {
    Query::new(([127, 0, 0, 1], 2000).into(), [127, 0, 0, 1].into(), operation, name)
}

#[test]
fn a_link_is_read_and_listed_as_in_a_chroot_at_the_root() {
    let root = tempfile::tempdir().expect("a folder");
    let at = |name: &str| root.path().join(name);
    let real = root.path().canonicalize().expect("a path");
    std::fs::write(at("file"), "whole").expect("a file");
    std::fs::create_dir_all(at("sub/below")).expect("a directory");
    std::fs::write(at("sub/below/more"), "more than whole").expect("a file");
    let link = |to: &str, name: &str| symlink(to, at(name)).expect("a link");
    let inside = ["../file", "/file", "../../../file", "/sub/../file", "below/../../file"];
    for (n, to) in inside.into_iter().enumerate() {
        link(to, &format!("sub/{n}"));
    }
    link(real.join("file").to_str().expect("UTF-8"), "sub/5");
    link("/sub/5", "sub/6");
    link("/sub/below", "sub/way");
    for (n, to) in ["/etc/passwd", "../../etc/passwd", "/..", "nowhere"].iter().enumerate() {
        link(to, &format!("sub/out{n}"));
    }
    let folder = Folder::open(root.path()).expect("it opens");
    let listing = folder.list(&query(Operation::List, "sub")).expect("a listing");
    let seen = listing.entries.iter().map(|entry| (entry.name.to_str(), entry.size));
    let files = ["0", "1", "2", "3", "4", "5", "6"].map(|name| (Some(name), 5));
    let directories = ["below", "out2", "way"].map(|name| (Some(name), 0));
    assert!(seen.eq(files.into_iter().chain(directories)), "{listing:?}");
    let read = |name: &str| {
        let read = folder.read(&query(Operation::Read, name));
        read.map(|file| file.known_size()).map_err(|error| error.text())
    };
    for name in 0..7 {
        assert_eq!(read(&format!("sub/{name}")), Ok(Some(5)), "{name}");
    }
    assert_eq!(read("sub/way/more"), Ok(Some(15)));
    assert_eq!(read("sub/way/../0"), Ok(Some(5)), "its name has no way through a link");
    assert_eq!(read("sub/out0"), Err("outside the folder"));
    assert_eq!(read("sub/out1"), Err("outside the folder"));
    assert_eq!(read("sub/out2"), Err("is a directory"));
    assert_eq!(read("sub/out3"), Err("file not found"));
}

#[test]
fn a_new_file_has_the_mode_that_any_program_gives_one() {
    let root = tempfile::tempdir().expect("a folder");
    let mode = |name: &str| {
        let metadata = std::fs::metadata(root.path().join(name)).expect("a file");
        metadata.permissions().mode()
    };
    std::fs::write(root.path().join("theirs"), "").expect("a file");
    for (name, can_link) in [("unnamed", true), ("named", false)] {
        let folder = Folder::open(root.path()).expect("it opens");
        let mut folder = folder.uploads(Uploads::Create);
        folder.rules.can_link = can_link;
        let mut sink = folder.write(&query(Operation::Write, name)).expect("a sink");
        sink.commit().expect("it is stored");
        assert_eq!(mode(name), mode("theirs"), "{name}");
    }
}

#[test]
fn a_name_is_found_in_letters_of_any_size_where_that_is_allowed_and_one_has_it() {
    let root = tempfile::tempdir().expect("a folder");
    std::fs::create_dir_all(root.path().join("Boot/x64")).expect("a directory");
    for name in ["Boot/x64/BootMgr.exe", "exact", "EXACT", "Two", "TWO", "\u{c9}.cfg"] {
        std::fs::write(root.path().join(name), name).expect("a file");
    }
    let folder = Folder::open(root.path()).expect("it opens").ignore_case(true);
    let folder = folder.uploads(Uploads::Create);
    let read = |name: &str| {
        let read = folder.read(&query(Operation::Read, name));
        let found = read.map(|file| file.found_name().map(ToString::to_string));
        found.map_err(|error| error.to_string())
    };
    let found = |name: &str| Ok(Some(name.to_owned()));
    let missing = || Err("not found".to_owned());
    let boot = "Boot/x64/BootMgr.exe";
    assert_eq!(read(boot), Ok(None));
    assert_eq!(
        [read("BOOT/X64/bootmgr.exe"), read("\\boot\\x64\\BOOTMGR.EXE")],
        [(); 2].map(|()| found(boot))
    );
    assert_eq!([read("exact"), read("EXACT")], [Ok(None), Ok(None)]);
    assert_eq!(read("\u{c9}.CFG"), found("\u{c9}.cfg"));
    assert_eq!(read("BOOT/X64/bootmgr.exe/"), missing(), "a file is no directory in any letters");
    assert_eq!(
        [read("\u{e9}.cfg"), read("boot/none"), read("exact/x")],
        [(); 3].map(|()| missing())
    );
    let both = read("two").expect_err("two of them");
    assert!(both.contains("'Two'") && both.contains("'TWO'"), "{both}");
    let listed = folder.list(&query(Operation::List, "BOOT")).expect("a listing");
    assert_eq!(listed.entries[0].name, "x64");
    let write = |name: &str| folder.write(&query(Operation::Write, name)).map(drop);
    assert!(matches!(write("boot/X64/BOOTMGR.EXE"), Err(StoreError::Exists)));
    let mut new = folder.write(&query(Operation::Write, "boot/X64/New")).expect("a place");
    new.commit().expect("stored");
    assert!(root.path().join("Boot/x64/New").is_file());
    let strict = Folder::open(root.path()).expect("it opens");
    assert!(strict.read(&query(Operation::Read, "boot/x64/BootMgr.exe")).is_err());
    let as_known = |name: &str| !folder.may_wait(&query(Operation::Read, name));
    assert!(as_known(boot) && !as_known("BOOT/x64/BootMgr.exe"), "no loop looks for it");
}

#[test]
fn what_the_kernel_knows_is_found_at_once_and_for_anything_else_a_disk_may_be_asked() {
    let root = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(root.path().join("sub")).expect("a directory");
    std::fs::write(root.path().join("sub/f"), "few").expect("a file");
    let folder = Folder::open(root.path()).expect("it opens");
    let may_wait = |name: &str| folder.may_wait(&query(Operation::Read, name));
    assert!(!may_wait("sub/f") && !may_wait("sub\\f"));
    assert!(may_wait("sub/missing") && may_wait("no/such"));
    // Where each client has its own directory, it is looked for there.
    let own = Folder::open(root.path()).expect("it opens").below(|_| Some("sub".into()));
    let may_wait = ["f", "sub/f"].map(|name| own.may_wait(&query(Operation::Read, name)));
    assert_eq!(may_wait, [false, true], "what is in the client's own directory, and what is not");
}

#[test]
fn who_reads_a_file_that_another_reads_shares_it_however_many_were_read_before() {
    let root = tempfile::tempdir().expect("a folder");
    let folder = Folder::open(root.path()).expect("it opens");
    let read = |name: &str| folder.read(&query(Operation::Read, name)).expect("a file");
    for n in 0..limits::SHARED_FILES {
        let name = n.to_string();
        std::fs::write(root.path().join(&name), "few").expect("a file");
        drop(read(&name));
    }
    std::fs::write(root.path().join("last"), "few").expect("a file");
    let _both = [read("last"), read("last")];
    let shared = folder.shared.lock().expect("no panic");
    assert_eq!(shared.values().map(Weak::strong_count).max(), Some(2));
}

#[test]
fn a_root_that_is_gone_for_a_while_is_told_to_be_gone_and_to_be_there_again() {
    let place = tempfile::tempdir().expect("a folder");
    let [root, away] = ["root", "away"].map(|name| place.path().join(name));
    std::fs::create_dir(&root).expect("a directory");
    std::fs::write(root.join("f"), "few").expect("a file");
    let (tell, told) = std::sync::mpsc::channel();
    let folder = Folder::named(&root).expect("it opens").notices(move |notice| {
        let _ = tell.send(notice.clone());
    });
    let read = || folder.read(&query(Operation::Read, "f")).is_ok();
    std::fs::rename(&root, &away).expect("moved");
    assert!(!read() && !read());
    std::fs::rename(&away, &root).expect("moved back");
    assert!(read() && read());
    let about_root = |notice: &Notice| match notice {
        Notice::RootLost(path, _) => path == &root,
        Notice::RootChanged(_) => false,
        _ => panic!("{notice}"),
    };
    let told: Vec<_> = told.try_iter().filter(|it| !matches!(it, Notice::Walked(_))).collect();
    assert_eq!(told.iter().map(about_root).collect::<Vec<_>>(), [true, false], "{told:?}");
    assert_eq!(told[1], Notice::RootChanged(root.clone()));
}

#[test]
fn no_link_leads_an_upload_to_a_kept_version() {
    let root = tempfile::tempdir().expect("a folder");
    let folder = Folder::open(root.path()).expect("a folder").uploads(Uploads::Overwrite);
    let folder = folder.keep_versions(2);
    for (to, link) in [("sw.cfg.~1~", "golden.cfg"), ("plain.cfg", "plain.cfg.~7~")] {
        std::fs::write(root.path().join(to), "old").expect("a file");
        symlink(to, root.path().join(link)).expect("a link");
        let refused = folder.write(&query(Operation::Write, link)).map(drop);
        assert_eq!(refused.map_err(|error| error.text()), Err("a reserved name"), "{link} to {to}");
    }
}

#[test]
fn others_get_no_list_of_what_they_may_not_read_but_of_the_root_that_is_served() {
    let root = tempfile::tempdir().expect("a folder");
    std::fs::write(root.path().join("f"), "few").expect("a file");
    for directory in ["closed", "locked", "open"] {
        std::fs::create_dir(root.path().join(directory)).expect("a directory");
    }
    // A directory is listed and entered.
    for (name, mode) in
        [("", 0o711), ("closed", 0o711), ("locked", 0o744), ("open", 0o755), ("f", 0o644)]
    {
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(root.path().join(name), mode).expect("its mode");
    }
    for to in ["locked", "open", "closed"] {
        symlink(to, root.path().join(format!("to {to}"))).expect("a link");
    }
    let folder = Folder::open(root.path()).expect("it opens").as_others(true);
    let list = |name: &str| folder.list(&query(Operation::List, name));
    let listing = list("").expect("whoever runs it says so");
    let names: Vec<_> = listing.entries.iter().map(|entry| &*entry.name).collect();
    assert_eq!(names, ["f", "open", "to open"], "what is listed can be read");
    let read = folder.read(&query(Operation::Read, "closed")).map(drop);
    assert_eq!(read.map_err(|error| error.text()), Err("is a directory"));
    assert_eq!(list("closed").map_err(|error| error.text()), Err("no permission"));
}

#[test]
fn who_replaces_a_file_where_all_files_have_names_removes_what_others_left() {
    let root = tempfile::tempdir().expect("a folder");
    let left = root.path().join(".rtftp-0123456789abcdef.part");
    for (can_link, stays) in [(true, true), (false, false)] {
        std::fs::write(&left, "half").expect("a file");
        let mut folder = Folder::open(root.path()).expect("it opens");
        folder.rules.can_link = can_link;
        let mut sink = folder.replace(Path::new("f")).expect("a place");
        assert_eq!(left.exists(), stays, "what a process left that was killed");
        sink.commit().expect("stored");
    }
}

#[test]
fn a_listing_tells_when_a_file_was_changed_also_before_the_epoch() {
    let root = tempfile::tempdir().expect("a folder");
    let (epoch, span) = (SystemTime::UNIX_EPOCH, Duration::from_millis(10_250));
    let times = [epoch - span, epoch, epoch + span];
    for (n, time) in times.iter().enumerate() {
        let file = std::fs::File::create(root.path().join(n.to_string())).expect("a file");
        file.set_modified(*time).expect("its time");
    }
    let folder = Folder::open(root.path()).expect("it opens");
    let listing = folder.list(&query(Operation::List, "")).expect("a listing");
    assert!(listing.entries.iter().map(|entry| entry.modified).eq(times), "{listing:?}");
    let said = |name: &str| {
        let listed =
            folder.list(&query(Operation::List, name)).map(|listing| listing.entries.len());
        listed.map_err(|error| (u16::from(error.code()), error.text()))
    };
    assert_eq!(said("0"), Err((1, "not a directory")));
    assert_eq!(said("none"), Err((1, "no such directory")));
    // What starts with a dot, and what no read would get, is not listed.
    std::fs::write(root.path().join(".hidden"), "").expect("a file");
    let pipe = root.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
    symlink("pipe", root.path().join("to a pipe")).expect("a link");
    assert_eq!(said(""), Ok(3));
}

#[test]
fn what_may_have_been_meant_is_told_of_what_is_not_there() {
    let root = tempfile::tempdir().expect("a folder");
    for directory in ["dir", "sub"] {
        std::fs::create_dir(root.path().join(directory)).expect("a directory");
    }
    for name in ["UPPER", "lower", "sub/Both", "sub/low"] {
        std::fs::write(root.path().join(name), name).expect("a file");
    }
    let folder = Folder::open(root.path()).expect("it opens");
    for (asked, near) in [
        ("upper", "UPPER"),
        ("LOWER", "lower"),
        ("Lower", "lower"),
        ("sub/LOW", "sub/low"),
        ("tftpboot/lower", "lower"),
        ("tftpboot/sub/Both", "sub/Both"),
        ("sub/BOTH", ""),
        ("DIR", ""),
        ("1", ""),
        ("a/b/lower", ""),
    ] {
        let refused = folder.read(&query(Operation::Read, asked)).map(drop).expect_err(asked);
        let told = match near {
            "" => "not found".to_owned(),
            near => format!("not found, but '{near}' is there"),
        };
        assert_eq!((refused.to_string(), refused.text()), (told, "file not found"), "{asked}");
    }
}

#[test]
fn without_proc_what_was_found_is_opened_by_its_name_if_that_is_the_same_file_still() {
    let root = tempfile::tempdir().expect("a folder");
    for name in ["f", "other"] {
        std::fs::write(root.path().join(name), name).expect("a file");
    }
    let mut folder = Folder::open(root.path()).expect("it opens");
    folder.has_proc = false;
    let asked = query(Operation::Read, "f");
    let file = folder.read(&asked).expect("a file");
    assert_eq!(file.known_size(), Some(1));
    let served = folder.served(&asked).expect("the root");
    let seen = folder.see(&served, Path::new("f")).expect("a file");
    let opened = |name: &str| {
        let open = || Ok(std::fs::File::open(root.path().join(name))?.into());
        seen.open_by_name(open).map(drop).map_err(|error| error.text())
    };
    assert_eq!([opened("f"), opened("other")], [Ok(()), Err("file not found")]);
}

#[test]
fn a_path_below_the_folder_is_told_without_the_folders_own() {
    let root = tempfile::tempdir().expect("a folder");
    let real = root.path().canonicalize().expect("a path");
    let own = real.strip_prefix("/").expect("it is absolute");
    let folder = Folder::open(root.path()).expect("it opens");
    assert_eq!(folder.inside(&own.join("sub/f")), Some(Path::new("sub/f")));
    assert_eq!(folder.inside(Path::new("sub/f")), None);
    let all = Folder::open("/").expect("it opens");
    assert_eq!(all.inside(Path::new("sub/f")), None, "the root of all has no path in front");
    let of_one = folder.below(|_| Some("sub".into()));
    assert_eq!(of_one.inside(&own.join("sub/f")), None, "a client's own directory has no path");
}
