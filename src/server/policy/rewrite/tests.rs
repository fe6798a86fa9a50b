use super::*;
use crate::wire::Operation;
use std::net::{IpAddr, Ipv4Addr};

const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn query(operation: Operation, name: impl Into<Filename>) -> Query {
    asked_by("192.0.2.7", operation, name)
}

fn asked_by(client: &str, operation: Operation, name: impl Into<Filename>) -> Query {
    let client: IpAddr = client.parse().expect("an address");
    Query::new((client, 2000).into(), LOCAL, operation, name)
}

fn map_of(text: &str) -> NameRules {
    NameRules::default().map("map", text).unwrap_or_else(|error| panic!("{error}"))
}

/// The name that is served, or what the client is told.
fn served(rules: &NameRules, query: &Query) -> String {
    match rules.apply(query) {
        Ok(name) => name.unwrap_or_else(|| query.name.clone()).to_string(),
        Err(refusal) => format!("{} {}", refusal.code, refusal.text),
    }
}

fn read(rules: &NameRules, name: &str) -> String {
    served(rules, &query(Operation::Read, name))
}

/// What in.tftpd makes of each was seen with its `-vvvv`; `tests/names.rs` asks it again.
#[test]
fn rules_are_obeyed_from_the_top_down_as_their_operations_say() {
    for (map, name, expected) in [
        ("r a b\nr b c", "aab", "cab"),
        ("rg a b\nr b c", "aab", "cbb"),
        ("rgi A", "baAc", "bc"),
        ("re a b\nr b c", "aab", "bab"),
        ("re a b\nr b c", "b", "c"),
        ("rge a b\nr b c", "aa", "bb"),
        ("e ^b\nrgs a b\nr ^ other/", "aa", "bb"),
        ("e ^x\nr x y", "xa", "xa"),
        ("e ^x\nr x y", "ax", "ay"),
        ("~e ^ok\nr ^ pre/", "ok", "pre/ok"),
        ("~e ^ok\nr ^ pre/", "no", "no"),
        ("es x\nr x y", "x", "x"),
        ("g a b", "a", "a"),
        ("r NO x\nsr x y\nr y yx", "z", "z"),
        ("r ^x$ y\\0z", "x", "yxz"),
        ("r ^x$ y\\0z", "xx", "xx"),
        ("r x*$ END", "baac", "baacEND"),
        ("r ^(.)(.)$ \\2\\1-\\i-\\x", "ab", "ba-192.0.2.7-C0000207"),
        ("rr a b\nrii B c", "aB", "cB"),
        ("G4r ^ get4/\nG6r ^ get6/\nP4r ^ put4/\nP6r ^ put6/", "n", "get4/n"),
        ("GPr ^ put/\nPGr ^ get/\n46r ^ none/", "n", "get/n"),
        ("a pvt", "my.pvt", "2 access violation"),
        ("a p(v)t go\\ away,\\#\\1\\i not this", "pvt", "2 go away,#v192.0.2.7"),
        ("ar pvt no", "pvt", "2 no"),
        ("ea x", "x", "2 access violation"),
        ("~a ^ok no", "x", "2 no"),
        ("~a ^ok no", "ok", "ok"),
    ] {
        assert_eq!(read(&map_of(map), name), expected, "{map:?} {name}");
    }
}

#[test]
fn a_rule_starts_over_at_the_first_one_as_the_manual_says() {
    let map = map_of("e ^done/\nrs ^x done/x\nr ^ other/");
    assert_eq!([read(&map, "x1"), read(&map, "y")], ["done/x1", "other/y"]);
}

#[test]
fn rules_apply_by_operation_and_family() {
    let map = map_of("G4r ^ get4/\nG6r ^ get6/\nP4r ^ put4/\nP6r ^ put6/");
    for (client, reads, writes) in [
        ("192.0.2.7", "get4/n", "put4/n"),
        ("2001:db8::7", "get6/n", "put6/n"),
        ("::ffff:192.0.2.7", "get4/n", "put4/n"),
    ] {
        let served = |operation| served(&map, &asked_by(client, operation, "n"));
        assert_eq!(served(Operation::Read), reads, "{client}");
        assert_eq!(served(Operation::List), reads, "{client}: a list is read");
        assert_eq!(served(Operation::Write), writes, "{client}");
    }
}

#[test]
fn a_line_has_an_operation_an_expression_and_perhaps_a_replacement_before_a_comment() {
    for (map, name, expected) in [
        ("  r \t a \x0b X\r\n", "a", "X"),
        ("\t# r a X\n\n   \n#\nr b Y", "ab", "aY"),
        ("r a X more words", "a", "X"),
        ("r a X#Y", "a", "X"),
        ("r a#b X", "a#b", "#b"),
        ("r a\\#b X", "a#b", "X"),
        ("r a\\ b X", "a b", "X"),
        ("r [\\ ] X", "a\\b", "aXb"),
        ("r \\\\ /", "a\\b", "a/b"),
        ("r a b\\ c\\\td", "a", "b c\td"),
        ("r a \\\\\\a", "a", "\\a"),
        ("r a", "bac", "bc"),
        ("r a '\\0\"", "a", "'a\""),
    ] {
        let name = served(&map_of(map), &query(Operation::Read, name));
        assert_eq!(name, Filename::from(expected).to_string(), "{map:?}");
    }
}

#[test]
fn what_cannot_be_obeyed_is_told_with_its_line() {
    let many = "e x\n".repeat(limits::MAP_RULES + 1);
    let large = "#".repeat(limits::MAP_FILE_BYTES + 1);
    for (map, why) in [
        ("r", "map, line 1: there is no regular expression"),
        ("#\nq x", "map, line 2: 'q' is no operation"),
        ("r a X\ngg\x1b a", "map, line 2: '\\x1b' is no operation"),
        ("R a b", "map, line 1: 'R' is no operation"),
        ("~r a b", "map, line 1: 'r' cannot be together with '~'"),
        ("r (a b", "map, line 1: a '(' is not closed"),
        ("r [#] b", "map, line 1: a '[' is not closed"),
        ("r a b\\", "map, line 1: a backslash ends the line"),
        ("r a\\", "map, line 1: a backslash ends the regular expression"),
        ("r a\0b c", "map, line 1: a NUL is in it"),
        (&many, "map, line 1025: there may be 1024 rules at most"),
        (&large, "map, line 1: a map may have 262144 bytes at most"),
    ] {
        let told = NameRules::default().map("map", map).expect_err(why).to_string();
        assert!(told.starts_with(why), "{told}");
    }
    let most = "e x\n".repeat(limits::MAP_RULES);
    assert_eq!(map_of(&most).rules(), limits::MAP_RULES);
    assert!(map_of(&most).map("more", "e x").is_err(), "of all maps");
    assert_eq!(map_of(&"#".repeat(limits::MAP_FILE_BYTES)).rules(), 0);
}

#[test]
fn rules_without_an_end_refuse_the_name() {
    let why = |map: &str| {
        let refused = map_of(map).apply(&query(Operation::Read, "aaa"));
        let refusal = refused.expect_err(map);
        assert_eq!(
            (refusal.code, &*refusal.text),
            (ErrorCode::AccessViolation, "access violation")
        );
        refusal.reason.into_owned()
    };
    for map in ["e x\nrg a \\0", "#\ns a", "#\nrg x*", "e x\nrs a a"] {
        assert_eq!(why(map), "the rules have no end with this name (map, line 2)", "{map}");
    }
    assert!(why("rg a \\0\\0").starts_with("the name has more than 1024 bytes"));
    // As many steps as there may be, and one more.
    let steps = |name: usize| {
        let name = "a".repeat(name);
        map_of("rg a b\nrg b c").apply(&query(Operation::Read, name)).is_ok()
    };
    assert!(steps(limits::MAP_STEPS / 2 - 1) && !steps(limits::MAP_STEPS / 2));
}

#[test]
fn a_name_that_is_rewritten_has_so_many_bytes_and_no_more() {
    let fits =
        |rules: &NameRules, len| rules.apply(&query(Operation::Read, "n".repeat(len))).is_ok();
    let most = limits::MAPPED_NAME_BYTES;
    assert!(fits(&map_of("e x"), most) && !fits(&map_of("e x"), most + 1));
    assert!(fits(&map_of("r ^ p"), most - 1) && !fits(&map_of("r ^ p"), most));
    assert!(fits(&NameRules::default().strip_junk(true), 2 * most), "there are no rules");
}

#[test]
fn junk_and_one_prefix_go_before_the_rules_are_tried() {
    let rules = NameRules::default().strip_junk(true).strip_prefix("C:").strip_prefix("/tftpboot/");
    let of = |name: &[u8]| {
        rules.apply(&query(Operation::Read, name)).expect("a name").map(|name| name.to_string())
    };
    let some = |name: &str| Some(name.to_owned());
    for (name, expected) in [
        (&b"a"[..], None),
        (b"a\xff", some("a")),
        (b"a\xff\xff\r\n\x7f\x01", some("a")),
        (b"a\xff b", None),
        (b"\xff", some("")),
        (b"/tftpboot/a", some("a")),
        (b"/tftpboot/C:a", some("C:a")),
        (b"C:/tftpboot/a\xff", some("/tftpboot/a")),
        (b"/tftpboot", None),
        (b"c:a", None),
        (b"xC:a", None),
    ] {
        assert_eq!(of(name), expected, "{name:?}");
    }
    let rules = rules.map("map", "r a$ b").expect("a rule");
    assert_eq!(served(&rules, &query(Operation::Read, b"C:a\xff")), "b");
    let both = NameRules::default().strip_prefix("/tftp").strip_prefix("/tftpboot/");
    assert_eq!(served(&both, &query(Operation::Read, "/tftpboot/a")), "boot/a", "the first fits");
    let none = NameRules::default().apply(&query(Operation::Read, b"a\xff"));
    assert_eq!(none, Ok(None), "names stay as they come");
}

#[test]
fn the_log_is_told_which_line_refuses_which_name() {
    let map = map_of("r ^ in/\n#\na pvt no\\ way");
    let refusal = map.apply(&query(Operation::Read, "a.pvt")).expect_err("a refusal");
    let told = "ERROR 2 \"no way\": map, line 3, refuses 'in/a.pvt'";
    assert_eq!(refusal.to_string(), told);
}
