use super::*;
use crate::server::{Policy, StandardPolicy};
use crate::store::{Folder, InMemory};
use std::net::Ipv4Addr;
use std::sync::atomic::AtomicUsize;

fn query(peer: &str, operation: Operation, name: &str) -> Query {
    let ip: IpAddr = peer.parse().expect("an address");
    Query::new((ip, 2000).into(), Ipv4Addr::LOCALHOST.into(), operation, name)
}

fn network(text: &str) -> IpNet {
    text.parse().expect("a network")
}

fn policy(rules: impl IntoIterator<Item = Rule>) -> StandardPolicy {
    rules.into_iter().fold(StandardPolicy::default(), StandardPolicy::rule)
}

fn deny(label: &str) -> Rule {
    Rule::new(label, Action::Deny)
}

fn serve(label: &str, serving: Serving) -> Rule {
    Rule::new(label, Action::Serve(serving))
}

/// What becomes of it: the label of the rule that turned it away, or "served".
fn decided(policy: &StandardPolicy, query: &Query) -> String {
    match policy.decide(query) {
        Verdict::Serve(_) => "served".into(),
        Verdict::Refuse(refusal) => {
            assert_eq!(refusal.code, ErrorCode::AccessViolation);
            assert_eq!(refusal.text, "access violation", "the peer learns of no rule");
            refusal.reason.into_owned()
        }
        Verdict::Drop(why) => why.into_owned(),
    }
}

#[test]
fn the_first_rule_that_is_for_a_request_decides() {
    let policy = policy([
        serve("r:1", Serving::default()).from(network("192.0.2.7/32")),
        Rule::new("r:2", Action::Drop).from(network("192.0.2.0/24")),
        deny("r:3").from(network("2001:db8::/32")).from(network("198.51.100.0/24")),
    ]);
    let of = |peer| decided(&policy, &query(peer, Operation::Read, "a"));
    assert_eq!(of("192.0.2.7"), "served");
    assert_eq!(of("192.0.2.8"), "the rule at r:2 drops it");
    assert_eq!(of("::ffff:192.0.2.8"), "the rule at r:2 drops it");
    assert_eq!(of("2001:db8::1"), "the rule at r:3 denies it");
    assert_eq!(of("198.51.100.1"), "the rule at r:3 denies it");
    assert_eq!([of("192.0.3.1"), of("2001:db9::1")], ["served", "served"]);
    let counts: Vec<_> = policy.clone().rules().iter().map(Rule::turned_away).collect();
    assert_eq!(counts, [0, 2, 2]);
}

#[test]
fn a_network_of_ipv4_may_be_written_as_one_of_ipv6() {
    let policy = policy([deny("r:1").from(network("::ffff:192.0.2.0/120"))]);
    let of = |peer| decided(&policy, &query(peer, Operation::Read, "a"));
    assert_eq!(of("192.0.2.255"), "the rule at r:1 denies it");
    assert_eq!(of("192.0.3.0"), "served");
    // All addresses of IPv6 hold those of IPv4 only where that is said.
    assert_eq!(canonical(network("::/0")), network("::/0"));
    assert_eq!(canonical(network("::ffff:0:0/95")), network("::ffff:0:0/95"));
    assert_eq!(canonical(network("::ffff:0:0/96")), network("0.0.0.0/0"), "all of IPv4");
}

#[test]
fn what_a_rule_does_not_allow_it_refuses_and_with_listings_goes_the_generated_file() {
    let allowed = Operations::NONE.with(Operation::Read);
    let policy = policy([serve("r:1", Serving::default().allow(allowed))]);
    let of = |operation| policy.decide(&query("192.0.2.7", operation, "a"));
    for operation in [Operation::Write, Operation::List] {
        let Verdict::Refuse(refusal) = of(operation) else { panic!("{operation}") };
        assert_eq!(refusal.reason, "the rule at r:1 does not allow it");
    }
    assert_eq!(policy.rules()[0].turned_away(), 2);
    let Verdict::Serve(profile) = of(Operation::Read) else { panic!("it may be read") };
    assert_eq!(profile.listing, None);
}

#[test]
fn a_rule_that_is_for_some_operations_lets_others_pass() {
    let policy = policy([deny("r:1").operations(Operations::NONE.with(Operation::Write))]);
    let of = |operation| decided(&policy, &query("192.0.2.7", operation, "a"));
    assert_eq!(of(Operation::Write), "the rule at r:1 denies it");
    assert_eq!([of(Operation::Read), of(Operation::List)], ["served", "served"]);
}

#[test]
fn a_hardware_address_is_looked_up_where_a_rule_wants_to_know_it_and_once() {
    let known = MacAddress([0x52, 0x54, 0, 0x12, 0x34, 0x56]);
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let policy = policy([
        deny("r:1").from(network("192.0.2.0/24")).mac("00:04:f2".parse().expect("a prefix")),
        deny("r:2")
            .from(network("192.0.2.0/24"))
            .mac("00:16:3e".parse().expect("another"))
            .mac("52:54:00".parse().expect("a prefix")),
    ]);
    assert!(policy.wants_mac_addresses() && !StandardPolicy::default().wants_mac_addresses());
    let of = |policy: &StandardPolicy, peer| decided(policy, &query(peer, Operation::Read, "a"));
    assert_eq!(of(&policy, "192.0.2.7"), "served", "nobody knows it");
    let policy = policy.mac_addresses(move |peer| {
        count.fetch_add(1, Ordering::Relaxed);
        (peer.ip().to_string() == "192.0.2.7").then_some(known)
    });
    assert_eq!(of(&policy, "198.51.100.1"), "served");
    assert_eq!(asked.load(Ordering::Relaxed), 0, "no rule was for it");
    assert_eq!(of(&policy, "192.0.2.7"), "the rule at r:2 denies it");
    assert_eq!(asked.load(Ordering::Relaxed), 1, "two rules wanted to know");
    assert_eq!(of(&policy, "192.0.2.8"), "served", "who is not known has none");
}

#[test]
fn no_way_to_write_a_name_passes_a_rule_that_is_for_it() {
    let root = tempfile::tempdir().expect("a folder");
    let folder = Arc::new(Folder::open(root.path()).expect("it opens"));
    let in_secret = |path: &Path| path.starts_with("secret");
    let served = || Serving::default().store(Arc::clone(&folder) as Arc<dyn Store>);
    let own = root.path().display().to_string();
    let ways = [
        "secret/f".into(),
        "/secret/f".into(),
        "//secret//f".into(),
        "./x/../secret/f".into(),
        "secret\\f".into(),
        "x\\..\\secret\\f".into(),
        format!("{own}/secret/f"),
        format!("{own}\\x\\..\\secret\\f"),
    ];
    let closed = policy([deny("r:1").name(in_secret), serve("r:2", served())]);
    let servers = policy([deny("r:1").name(in_secret)]).store(Arc::clone(&folder) as _);
    let apart = serve("r:2", Serving::default().uploads(Arc::clone(&folder) as _));
    let uploads = policy([deny("r:1").name(in_secret), apart]);
    let open = policy([serve("r:1", served()).name(in_secret), deny("r:2")]);
    for name in ways {
        let read = query("192.0.2.7", Operation::Read, &name);
        assert_eq!(decided(&closed, &read), "the rule at r:1 denies it", "{name}");
        assert_eq!(decided(&servers, &read), "the rule at r:1 denies it", "{name}");
        assert_eq!(decided(&open, &read), "served", "{name}");
        let write = query("192.0.2.7", Operation::Write, &name);
        assert_eq!(decided(&uploads, &write), "the rule at r:1 denies it", "{name}");
    }
    for name in ["secret/../f", "secret\\..\\f", "x/secret/f", "other", "../secret/f", ""] {
        let read = query("192.0.2.7", Operation::Read, name);
        assert_eq!(decided(&closed, &read), "served", "{name}");
        assert_eq!(decided(&open, &read), "the rule at r:2 denies it", "{name}");
    }
}

#[test]
fn what_is_closed_is_closed_below_the_path_of_any_root_that_there_is() {
    let places = [(); 3].map(|()| tempfile::tempdir().expect("a folder"));
    let open = |n: usize| Arc::new(Folder::open(places[n].path()).expect("it opens"));
    let closed = deny("r:1").name(|path| path.starts_with("secret"));
    let own = |n| serve("r:2", Serving::default().store(open(n))).from(network("2001:db8::/32"));
    let policy = policy([closed, own(0), own(1)]).store(open(2));
    for place in &places {
        let name = place.path().join("secret/f").display().to_string();
        let told = decided(&policy, &query("192.0.2.7", Operation::Read, &name));
        assert_eq!(told, "the rule at r:1 denies it", "{name}");
    }
}

#[test]
fn an_absolute_name_is_beneath_the_root_that_its_operation_has() {
    let places = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
    let [files, uploads] = [0, 1].map(|n| Folder::open(places[n].path()).expect("it opens"));
    let both = Serving::default().store(Arc::new(files)).uploads(Arc::new(uploads));
    let in_a = |path: &Path| path.starts_with("a");
    let policy = policy([serve("r:1", both).name(in_a), deny("r:2")]);
    let (of_it, no) = ("served", "the rule at r:2 denies it");
    for (operation, served) in [(Operation::Read, [of_it, no]), (Operation::Write, [no, of_it])] {
        let seen = places.each_ref().map(|place| {
            let name = place.path().join("a/x.cfg").display().to_string();
            decided(&policy, &query("192.0.2.7", operation, &name))
        });
        assert_eq!(seen, served, "{operation} below the root of files, and of uploads");
    }
}

#[test]
fn a_list_has_the_name_of_its_generated_file() {
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let tell = Arc::clone(&seen);
    let rule = deny("r:1").name(move |path| {
        tell.lock().expect("names").push(path.display().to_string());
        false
    });
    let policy = policy([rule]);
    for (operation, name) in [
        (Operation::List, ""),
        (Operation::List, "sub"),
        (Operation::Read, "sub/"),
        (Operation::Read, "sub/.list"),
        (Operation::Write, "sub/"),
    ] {
        decided(&policy, &query("192.0.2.7", operation, name));
    }
    let names = seen.lock().expect("names").clone();
    assert_eq!(names, [".list", "sub/.list", "sub/.list", "sub/.list", "sub"]);
}

#[test]
fn uploads_have_a_store_of_their_own_where_there_is_one() {
    let [files, uploads] = [(); 2].map(|()| Arc::new(InMemory::new()) as Arc<dyn Store>);
    let both = Serving::default().store(Arc::clone(&files)).uploads(Arc::clone(&uploads));
    let one = Serving::default().store(Arc::clone(&files));
    let stored = |serving: &Serving, operation| {
        let policy = policy([serve("r:1", serving.clone())]);
        match policy.decide(&query("192.0.2.7", operation, "a")) {
            Verdict::Serve(profile) => profile.store,
            other => panic!("{other:?}"),
        }
    };
    let [files, uploads] = [files, uploads].map(|store| Some(OwnStore(store)));
    for (serving, operation, store) in [
        (&both, Operation::Read, &files),
        (&both, Operation::List, &files),
        (&both, Operation::Write, &uploads),
        (&one, Operation::Write, &files),
        (&Serving::default(), Operation::Read, &None),
    ] {
        assert_eq!(stored(serving, operation), *store, "{operation}");
    }
    assert_ne!(files, uploads);
}

#[test]
fn what_is_different_for_a_rule_is_so_for_its_requests() {
    let size = crate::wire::BlockSize::new(512).expect("a size");
    let window = crate::wire::WindowSize::new(2).expect("a window");
    let serving = Serving::default().quirks(Quirks::new().block_size(size));
    let serving = serving.quirks(Quirks::new().window(window));
    let policy = policy([serve("r:1", serving).from(network("192.0.2.7/32"))]);
    let of = |peer| match policy.decide(&query(peer, Operation::Read, "a")) {
        Verdict::Serve(Profile { limits, .. }) => (limits.block_size.get(), limits.window.get()),
        other => panic!("{other:?}"),
    };
    let standard = Profile::default().limits.window.get();
    assert_eq!([of("192.0.2.7"), of("192.0.2.8")], [(512, 2), (65464, standard)]);
    let looked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&looked);
    let look_up = move |_: &SocketAddr| {
        count.fetch_add(1, Ordering::Relaxed);
        None
    };
    let read = query("192.0.2.7", Operation::Read, "a");
    let client = Client::new(&read.peer, Some(&look_up));
    assert_eq!([client.mac(), client.mac()], [None; 2]);
    assert_eq!(looked.load(Ordering::Relaxed), 1, "that there is none is known, too");
}
