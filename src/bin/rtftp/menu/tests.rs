//! What a line of the menu means.

use super::*;
use std::os::unix::ffi::OsStrExt;
use tftpkit::client::{Host, Wishes};
use tftpkit::store::{Entry, Kind, Listing};

pub(super) fn listing(names: &[&str]) -> Listing {
    let entry = |name: &&str| {
        let kind = if name.ends_with('/') { Kind::Directory } else { Kind::File };
        let name = name.trim_end_matches('/').into();
        Entry { name, kind, size: 0, modified: std::time::UNIX_EPOCH }
    };
    Listing { entries: names.iter().map(entry).collect(), cut: false }
}

/// A menu that has listed `directory`, of a server where nothing listens.
pub(super) fn session(directory: &str) -> Session {
    let unused = std::net::UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
    let port = unused.expect("a port that is free again").port();
    let host = Host { host: "127.0.0.1".into(), port };
    let server = Server::new(&host, Wishes::default(), &Stop::default());
    let mut session = Session::new(host, server, false);
    session.directory = directory.into();
    session.listing = Some(listing(&["7", "a b", "dir/", "fine", "first"]));
    session
}

#[test]
fn a_word_is_a_number_a_name_of_the_list_or_one_in_the_directory() {
    let name = |directory: &str, word: &str| {
        let name = session(directory).name_of(word).map_err(|error| error.to_string());
        name.map(|name| String::from_utf8_lossy(&name).into_owned())
    };
    let cases = [
        ("", "1", "7"),
        ("", "3", "dir/"),
        ("sub", "1", "sub/7"),
        ("sub", "3", "sub/dir/"),
        ("sub", "7", "sub/7"),
        ("sub", "dir", "sub/dir/"),
        ("sub", "dir/", "sub/dir/"),
        ("sub", "other", "sub/other"),
        ("sub", "/other", "/other"),
        ("sub", "../other", "other"),
        ("sub", "+1", "sub/+1"),
        ("", "other", "other"),
        ("", "..", ""),
        ("sub", "..", ""),
        ("a/b", "..", "a"),
        ("a/b/c", "..", "a/b"),
    ];
    for (directory, word, expected) in cases {
        assert_eq!(name(directory, word), Ok(expected.into()), "{word} in {directory}");
    }
    for number in ["0", "6", "99999999999999999999"] {
        let refused = Err(format!("the list has no number {number}; it ends at 5"));
        assert_eq!(name("", number), refused);
    }
    let mut nothing = session("");
    nothing.listing = None;
    assert_eq!(nothing.name_of("6").expect("a name"), b"6", "there is no list to have numbers");
}

#[test]
fn the_prompt_has_the_directory_as_far_as_there_is_room_and_nothing_that_drives_a_terminal() {
    let of = |directory: &str| session(directory).prompt();
    let prompts = [of(""), of("sub/deep"), of("a\u{202e}b")];
    assert_eq!(prompts, ["rtftp> ", "rtftp sub/deep/> ", "rtftp a\\u{202e}b/> "]);
    let half = columns().unwrap_or(80) / 2;
    let long = of(&"d".repeat(half + 1));
    assert_eq!(long.chars().count(), "rtftp /> ".len() + half, "half of a line is left: {long}");
}

#[test]
fn names_that_are_not_utf_8_are_got_by_their_number_as_they_are() {
    let mut session = session("sub");
    let name = <std::ffi::OsStr as OsStrExt>::from_bytes(b"caf\xe9.bin").into();
    let entry = Entry { name, kind: Kind::File, size: 0, modified: std::time::UNIX_EPOCH };
    session.listing = Some(Listing { entries: vec![entry], cut: false });
    assert_eq!(session.name_of("1").expect("a name"), b"sub/caf\xe9.bin");
    assert_eq!(session.fitting("caf*").expect("names"), [b"sub/caf\xe9.bin"]);
    assert_eq!(session.completions("ca"), [""; 0], "no key types it");
}

#[test]
fn several_files_are_told_from_a_name_here() {
    let here = std::env::temp_dir().display().to_string();
    let meant = |words: &[&str]| {
        let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
        let (files, to) = session("sub").downloads(&words).map_err(|error| error.to_string())?;
        let files = files.iter().map(|file| String::from_utf8_lossy(file).into_owned());
        Ok((files.collect::<Vec<_>>().join(" "), to.map(|to| to.display().to_string())))
    };
    let is = |files: &str, to: Option<&str>| Ok((files.to_owned(), to.map(str::to_owned)));
    assert_eq!(meant(&["1", "4"]), is("sub/7 sub/fine", None));
    assert_eq!(meant(&["fine", "first"]), is("sub/fine sub/first", None));
    assert_eq!(meant(&["fine", "as"]), is("sub/fine", Some("as")));
    assert_eq!(meant(&["fine", "-"]), is("sub/fine", Some("-")));
    assert_eq!(meant(&["fine", "first", "other"]), is("sub/fine sub/first sub/other", None));
    assert_eq!(meant(&["fine", "first", &here]), is("sub/fine sub/first", Some(&here)));
    assert_eq!(meant(&["fine", "first", "-"]), is("sub/fine sub/first", Some("-")));
    assert_eq!(meant(&["fine", "first", "new/"]), is("sub/fine sub/first", Some("new/")));
    let home = names::local("~").display().to_string();
    assert_eq!(meant(&["fine", "first", "~"]), is("sub/fine sub/first", Some(&home)));
    assert_eq!(meant(&["fi*"]), is("sub/fine sub/first", None));
    let of_root = session("/").fitting("/fi*").expect("it was listed");
    assert_eq!(of_root, [b"/fine".to_vec(), b"/first".to_vec()], "one slash is the root's");
    assert_eq!(meant(&["fi*", "1"]), is("sub/fine sub/first sub/7", None));
    // No name here is a pattern.
    assert_eq!(meant(&["fine", "fi*"]), is("sub/fine sub/fine sub/first", None));
    // A directory is no file, however it is called.
    assert_eq!(meant(&["?*"]), is("sub/7 sub/a b sub/fine sub/first", None));
    assert_eq!(meant(&["fi*", &here]), is("sub/fine sub/first", Some(&here)));
    let none: std::result::Result<(String, Option<String>), String> = meant(&["*.none"]);
    assert_eq!(none, Err("no file there fits '*.none'".into()));
    assert_eq!(meant(&["di*"]), Err("no file there fits 'di*'".into()), "it is a directory");
    let refused = session("sub").fitting("other/*").map_err(|error| error.to_string());
    assert_eq!(refused, Err("other/*".into()), "what cannot be listed is told with its pattern");
}

#[test]
fn what_a_command_needs_is_asked_for_and_an_empty_answer_is_none() {
    let session = Rc::new(RefCell::new(session("")));
    // The exit status where it fails, and what was asked.
    let obeyed = |line: &str, answer: Option<&str>| {
        let mut asked = Vec::new();
        let done = obey(&session, line, |question| {
            asked.push(question.to_owned());
            answer.map(str::to_owned)
        });
        let class = match done {
            Line::Done => Some(Class::Done),
            Line::Failed(class) => Some(class),
            Line::Quit => None,
        };
        (class, asked.concat())
    };
    let (which, whose) = ("Which file (name or number)? ", "Which of your files? ");
    let cases = [
        ("upload", Some("absent"), Some(Class::Local), whose),
        ("upload", Some("  "), Some(Class::Usage), whose),
        // A name that has a quote in it, which is not closed.
        ("upload", Some("it's"), Some(Class::Local), whose),
        ("put absent", Some("other"), Some(Class::Local), ""),
        ("download", Some("a/"), Some(Class::Usage), which),
        ("GET", None, Some(Class::Usage), which),
        ("2 name -", None, Some(Class::NoAnswer), ""),
        ("ls", None, Some(Class::NoAnswer), ""),
        ("cd dir", None, Some(Class::NoAnswer), ""),
        ("chdir a b", None, Some(Class::Usage), ""),
        // Several files cannot all become one.
        ("get fi* as", None, Some(Class::Local), ""),
        ("l a b", None, Some(Class::Usage), ""),
        ("download '", None, Some(Class::Usage), ""),
        ("bogus", None, Some(Class::Usage), ""),
        ("lsit", None, Some(Class::Usage), ""),
        ("upload *.absent", None, Some(Class::Usage), ""),
        // A list is shown, and numbers alone are its lines.
        ("2 4 -", None, Some(Class::NoAnswer), ""),
        ("3", None, Some(Class::NoAnswer), ""),
        ("6", None, Some(Class::Usage), ""),
        (" ", None, Some(Class::Done), ""),
        ("q", None, None, ""),
        ("exit", None, None, ""),
    ];
    for (line, answer, class, asked) in cases {
        assert_eq!(obeyed(line, answer), (class, asked.to_owned()), "{line}");
    }
    let remembered = session.borrow();
    assert_eq!(remembered.directory, b"", "it stays where it is, where it cannot go");
    assert!(!remembered.lists_nothing, "silence says nothing of what is offered");
    drop(remembered);
    session.borrow_mut().is_typed = true;
    for (line, question) in [("get", which), ("put", whose)] {
        assert_eq!(
            obeyed(line, None),
            (Some(Class::Done), question.to_owned()),
            "it was broken off"
        );
    }
    session.borrow_mut().listing = None;
    assert_eq!(obeyed("3", Some("absent")), (Some(Class::Local), whose.to_owned()));
    assert_eq!(obeyed("4", None), (None, String::new()));
}

#[test]
fn each_command_has_the_names_that_people_give_it() {
    let cases = [
        ("list", &["1", "l", "li", "ls", "dir", "list"][..]),
        ("cd", &["c", "cd", "chdir"]),
        ("download", &["2", "d", "down", "get", "fetch", "download"]),
        ("upload", &["3", "u", "up", "put", "send", "upload"]),
        ("help", &["?", "h", "help"]),
        ("quit", &["4", "q", "exit", "bye", "quit"]),
    ];
    for (command, names) in cases {
        let meant: Vec<_> = names.iter().map(|name| what(name)).collect();
        assert_eq!(meant, vec![Some(command); names.len()], "{names:?}");
    }
    let others = ["5", "downloads", "pull", "x"].map(what);
    assert_eq!(others, [None; 4]);
}

#[test]
fn where_the_menu_goes_no_list_was_shown_yet() {
    let session = Rc::new(RefCell::new(session("sub")));
    let obeyed = |line| obey(&session, line, |question| panic!("{line} asks {question}"));
    // The top is there without a question.
    for top in ["cd", "cd /", "cd ..", "cd ../..", "cd ../", "cd /x/.."] {
        session.borrow_mut().directory = b"sub".to_vec();
        assert!(matches!(obeyed(top), Line::Done), "{top}");
        assert_eq!(session.borrow().directory, b"", "{top}");
    }
    assert!(matches!(obeyed("list other"), Line::Failed(_)), "nothing listens there");
    assert_eq!(session.borrow().directory, b"", "it stays where the last list was of");
    let picked = obeyed("5");
    assert!(matches!(picked, Line::Failed(Class::Usage)), "it is a line of the directory before");
}

#[test]
fn a_file_that_is_here_is_asked_about_where_a_person_types() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("fine");
    std::fs::write(&file, "old").expect("a file");
    let (name, mut typed) = (file.display().to_string(), session(""));
    typed.is_typed = true;
    let line = format!("download fine {name}");
    let asked_for = Some(Class::NoAnswer);
    let answers = [("", None), ("n", None), ("no", None), ("y", asked_for), (" Yes ", asked_for)];
    for (answer, class) in answers {
        let mut asked = Vec::new();
        let shared = Rc::new(RefCell::new(std::mem::replace(&mut typed, session(""))));
        shared.borrow_mut().is_typed = true;
        let done = obey(&shared, &line, |question| {
            asked.push(question.to_owned());
            Some(answer.to_owned())
        });
        let failed = match done {
            Line::Failed(class) => Some(class),
            _ => None,
        };
        assert_eq!(failed, class, "{answer}");
        assert_eq!(asked, [format!("'{name}' exists here. Replace it (y/N)? ")]);
    }
    // Who breaks off the question is not asked about the other files.
    let folder = folder.path().display().to_string();
    std::fs::write(file.with_file_name("first"), "old").expect("a file");
    let (shared, mut asked) = (Rc::new(RefCell::new(session(""))), 0);
    shared.borrow_mut().is_typed = true;
    let done = obey(&shared, &format!("download fine first {folder}"), |_| {
        asked += 1;
        None
    });
    assert!(matches!(done, Line::Done) && asked == 1, "{asked} questions");
    let piped = Rc::new(RefCell::new(session("")));
    let done = obey(&piped, &line, |question| panic!("nobody is there to be asked {question}"));
    assert!(matches!(done, Line::Failed(Class::NoAnswer)));
    assert_eq!(std::fs::read(&file).expect("as it was"), b"old");
}
