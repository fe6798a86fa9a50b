//! From what was opened to a transfer on its socket: what is granted, within memory and the socket's buffer, and what is
//! answered.

use super::Shared;
use super::active::ActiveTransfer;
use super::entry::Opened;
pub(super) use super::open::Payload;
use super::open::{Unserved, open};
use super::permit::Permit;
use super::policy::{DropReason, Profile, Refusal};
use super::process::ActiveProcess;
use super::tap::{Guarded, Tap};
use super::{Event, answer};
use crate::limits;
use crate::net::{Listener, RequestSocket, Session, Share, System, TransferSocket};
use crate::proto::{GrantLimits, grant};
use crate::query::Query;
use crate::store::SERVER_ERROR;
use crate::transfer::{MayWait, Terms, Transfer};
use crate::wire::{BlockSize, ErrorCode, Filename, Mode, Options, WindowSize};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

/// Opens what the session of `permit` is about and starts its transfer in this process. Where there is to be none, the
/// client and the observer are told why.
pub(super) fn start(
    shared: &Arc<Shared>,
    asked_at: &RequestSocket,
    permit: Permit,
    profile: &Profile,
) -> Option<ActiveTransfer> {
    begin(shared, asked_at, permit, profile, |ready, permit, served| {
        let session = ready.session(shared, asked_at, &permit);
        let session = permit.entry().attach(session);
        Ok(ActiveTransfer::new(session, permit, Arc::clone(shared), served))
    })
}

/// The same in a process of its own.
pub(super) fn start_apart(
    shared: &Arc<Shared>,
    asked_at: &RequestSocket,
    permit: Permit,
    profile: &Profile,
) -> Option<ActiveProcess> {
    begin(shared, asked_at, permit, profile, |ready, permit, served| {
        ActiveProcess::start(ready, permit, shared, served)
    })
}

/// Opens what the session of `permit` is about, and has the transfer started with what was granted.
fn begin<T>(
    shared: &Arc<Shared>,
    asked_at: &RequestSocket,
    permit: Permit,
    profile: &Profile,
    drive: impl FnOnce(Ready, Permit, Option<Filename>) -> io::Result<T>,
) -> Option<T> {
    let entry = Arc::clone(permit.entry());
    let (query, served) = (&entry.query, profile.name.as_ref());
    let store = profile.store_or(&*shared.store);
    let payload = match open(store, &profile.served(query), profile) {
        Ok(payload) => payload,
        Err(Unserved::Refused(refusal)) => {
            // Who has the answer may ask at once for the same again: that is no repeat of what is over.
            drop(permit);
            answer::refuse(shared, asked_at, (query, served), &refusal);
            return None;
        }
        Err(Unserved::Dropped(reason)) => {
            answer::lacking(shared, query, &reason);
            return None;
        }
    };
    if payload.held() > permit.most_bytes() {
        let why = "it holds more memory than the transfers of its network may have";
        let refusal = Refusal::new(ErrorCode::Undefined, why).text(SERVER_ERROR);
        // What the session has goes before it stops counting.
        drop(payload);
        drop(permit);
        answer::refuse(shared, asked_at, (query, served), &refusal);
        return None;
    }
    let served = payload.name().or(served).cloned();
    // What is written is as long as its client says.
    let size = payload.size().or_else(|| query.announced_size());
    entry.set_opened(Opened { served: served.clone(), size });
    let ready = ready(shared, asked_at, &permit, profile, payload);
    match ready.and_then(|ready| drive(ready, permit, served.clone())) {
        Ok(transfer) => Some(transfer),
        Err(error) => {
            match DropReason::of(&error) {
                Some(reason) => answer::lacking(shared, query, &reason),
                None => {
                    let served = served.as_ref();
                    shared.tell(Event::Failed { query, served, summary: None, error: &error });
                }
            }
            None
        }
    }
}

/// What was granted to whom, and what it is about: a transfer, but for who drives it.
pub(super) struct Ready {
    pub(super) socket: TransferSocket,
    pub(super) terms: Terms,
    pub(super) payload: Payload,
    /// The largest block that travels in one packet, where that matters.
    pub(super) path_block: Option<BlockSize>,
    /// How fast it may send.
    pub(super) share: Option<Box<dyn Share>>,
}

impl Ready {
    /// The transfer on its socket, to be driven here.
    fn session(self, shared: &Shared, asked_at: &RequestSocket, permit: &Permit) -> Session {
        let Self { socket, terms, payload, path_block, share } = self;
        let (now, query) = (shared.system.now(), &permit.entry().query);
        let (transfer, sends) = match payload {
            Payload::Source { source, .. } => {
                let mut transfer = Transfer::serve_read(now, &terms, source);
                if let Some(size) = path_block {
                    transfer.set_path_block(size);
                }
                (transfer, true)
            }
            Payload::Sink(sink) => (Transfer::serve_write(now, &terms, sink), false),
        };
        // Who writes is sent less than it sends.
        let validation = shared.validation.as_ref().filter(|_| sends);
        let gate = validation.and_then(|validation| validation.gate(query.peer.ip()));
        let listener = shared.config.tap.as_ref();
        let listener = listener.and_then(|tap| listen(&**tap, asked_at, &socket, query));
        let session = Session::new(socket, Arc::clone(&shared.system), transfer);
        session.behind(gate).sharing(share).tapped(listener)
    }
}

fn ready(
    shared: &Shared,
    asked_at: &RequestSocket,
    permit: &Permit,
    profile: &Profile,
    payload: Payload,
) -> io::Result<Ready> {
    let (system, query) = (&*shared.system, &permit.entry().query);
    let socket = asked_at.answer(system, query.local, query.peer, permit.number())?;
    let socket = socket.offload(shared.config.offload);
    let asked = query.options.without(profile.left_out);
    let (size, need, receives) = match &payload {
        // In netascii the size on the wire is not known.
        Payload::Source { size, held, .. } => {
            let told = size.filter(|size| *size > 0 || profile.tell_empty);
            let need = Need { held: *held, windows: 1, receives: false };
            (told.filter(|_| query.mode == Mode::Octet), need, false)
        }
        // What waits to be written is beside what waits for a block that is missing.
        Payload::Sink(sink) => {
            let windows = if sink.may_wait() == MayWait::Never { 1 } else { 2 };
            (None, Need { held: 0, windows, receives: true }, true)
        }
    };
    let limits = fit(system, permit, profile, query, &asked, need)?;
    let limits = if receives { fit_to_buffer(&socket, limits, &asked)? } else { limits };
    let (agreed, answer) = grant(query.operation, &asked, &limits, size);
    permit.reserve(need.bytes(agreed.packet_bytes(), agreed.window()));
    let terms = Terms { agreed, answer, mode: query.mode, timing: profile.timing };
    let may_split = may_split(receives, agreed.block_size(), agreed.window());
    let path_block = may_split.then(|| TransferSocket::path_block_size(system, query.peer));
    let share = shared.shares.as_ref().filter(|_| !receives);
    let share = share.map(|shares| shares.join(query.peer.ip(), system.now()));
    Ok(Ready { socket, terms, payload, path_block, share })
}

/// Whether several packets at once may each leave in fragments, so that it matters what the path takes in one.
fn may_split(receives: bool, block_size: BlockSize, window: WindowSize) -> bool {
    !receives && window > WindowSize::LOCKSTEP && block_size > BlockSize::ETHERNET
}

fn listen(
    tap: &dyn Tap,
    asked_at: &RequestSocket,
    socket: &TransferSocket,
    query: &Query,
) -> Option<Box<dyn Listener>> {
    let asked = SocketAddr::new(query.local, asked_at.address().port());
    let answers = SocketAddr::new(query.local, socket.local_address().ok()?.port());
    Guarded::listen(tap, query, asked, answers)
}

/// The memory that a transfer needs: what it holds already, so many windows, and room for one in the socket where it
/// receives.
#[derive(Clone, Copy)]
struct Need {
    held: usize,
    windows: usize,
    receives: bool,
}

impl Need {
    fn bytes(self, packet: usize, window: WindowSize) -> usize {
        let blocks = self.of_block(packet, window).saturating_mul(window.get().into());
        self.held.saturating_add(blocks)
    }

    /// For each block of a window. In lock-step a socket has room as it is.
    fn of_block(self, packet: usize, window: WindowSize) -> usize {
        let in_socket = self.receives && window > WindowSize::LOCKSTEP;
        let kernel = if in_socket { TransferSocket::receive_memory(packet) } else { 0 };
        self.windows * packet + kernel
    }
}

/// What may be granted within the profile, the path and the memory that is left.
fn fit(
    system: &dyn System,
    permit: &Permit,
    profile: &Profile,
    query: &Query,
    asked: &Options,
    need: Need,
) -> io::Result<GrantLimits> {
    let mut limits = profile.limits;
    let path = || TransferSocket::path_block_size(system, query.peer);
    if profile.whole_packets {
        limits.block_size = limits.block_size.min(path());
    }
    let mut limits = fit_to_path(limits, asked, path);
    let (size, window) = limits.shape(asked);
    let packet = size.packet_bytes();
    let room = permit.reserve(need.bytes(packet, window)).checked_sub(need.held);
    let room = room.ok_or(io::ErrorKind::OutOfMemory)?;
    limits.window_bytes = room / need.of_block(packet, window) * packet;
    if room < need.of_block(packet, WindowSize::LOCKSTEP) {
        limits.block_size = limits.block_size.min(BlockSize::DEFAULT);
    }
    Ok(limits)
}

/// `limits`, lowered where the path carries each block of a window in several packets.
fn fit_to_path(
    mut limits: GrantLimits,
    asked: &Options,
    path: impl FnOnce() -> BlockSize,
) -> GrantLimits {
    let (size, window) = limits.shape(asked);
    // Whoever sends them.
    if may_split(false, size, window) {
        let packets = size.packet_bytes().div_ceil(path().packet_bytes());
        if packets > 1 {
            let most = u16::try_from(limits::SPLIT_WINDOW_PACKETS / packets).ok();
            let most = most.and_then(WindowSize::new).unwrap_or(WindowSize::LOCKSTEP);
            limits.window = limits.window.min(most);
        }
    }
    limits
}

/// `limits`, lowered for an upload: its window must fit what the socket's buffer really holds.
fn fit_to_buffer(
    socket: &TransferSocket,
    mut limits: GrantLimits,
    asked: &Options,
) -> io::Result<GrantLimits> {
    let (size, window) = limits.shape(asked);
    if window > WindowSize::LOCKSTEP {
        let blocks = socket.reserve_receive_buffer(size.packet_bytes(), window.get())?;
        limits.window = WindowSize::new(blocks).unwrap_or(WindowSize::LOCKSTEP);
    }
    Ok(limits)
}

#[cfg(test)]
mod tests {
    use super::super::{Budgets, Config, Dispatcher, Handle, Model, Server, take_datagram};
    use super::*;
    use crate::net::{Rehearsal, Requested};
    use crate::store::{Generated, InMemory, Readable, Store, StoreError, Uploads};
    use crate::wire::TransferOption;
    use std::net::{IpAddr, Ipv4Addr};
    use std::num::NonZeroU64;
    use std::sync::{Mutex, mpsc};

    /// A server that has taken this request of one client.
    fn asked_by_one(
        config: Config,
        store: impl Store + 'static,
        datagram: &[u8],
    ) -> (Arc<Shared>, Dispatcher) {
        let server = Server::bind_on(Rehearsal::start(), config, store, |_| {});
        let Server { sockets, shared, mut dispatcher } = server.expect("a server");
        let (peer, local) = (([192, 0, 2, 7], 2000).into(), Ipv4Addr::LOCALHOST.into());
        let requested = Requested { len: datagram.len(), peer, local };
        take_datagram(&shared, &mut dispatcher, &sockets[0], datagram, &requested);
        (shared, dispatcher)
    }

    /// Tells at which address each transfer was asked for, and from which it is answered.
    struct Heard(mpsc::Sender<[SocketAddr; 2]>);

    impl Tap for Heard {
        fn listen(
            &self,
            _: &Query,
            asked: SocketAddr,
            answers: SocketAddr,
        ) -> Option<Box<dyn Listener>> {
            self.0.send([asked, answers]).expect("it is heard");
            None
        }
    }

    #[test]
    fn a_download_shares_the_rate_by_its_clients_address_and_is_known_by_the_one_that_was_asked() {
        let [client, local] = [7, 1].map(|host| IpAddr::V4(Ipv4Addr::new(192, 0, 2, host)));
        for (datagram, sharing) in
            [(b"\0\x01f\0octet\0", vec![client]), (b"\0\x02g\0octet\0", vec![])]
        {
            let store = InMemory::new().uploads(Uploads::Create);
            store.insert("f", vec![7; 600]).expect("a file");
            let (tell, told) = mpsc::channel();
            let budgets = Budgets::default().rate(NonZeroU64::new(100_000));
            let config = Config::default().listen((Ipv4Addr::UNSPECIFIED, 1)).budgets(budgets);
            let config = config.model(Model::Iterative).tap(Heard(tell));
            let server = Server::bind_on(Rehearsal::start(), config, store, |_| {});
            let Server { sockets, shared, mut dispatcher } = server.expect("a server");
            let requested = Requested { len: datagram.len(), peer: (client, 2000).into(), local };
            take_datagram(&shared, &mut dispatcher, &sockets[0], datagram, &requested);
            let shares = shared.shares.as_ref().expect("there is a rate");
            assert_eq!(shares.clients(), sharing, "{:?}", datagram.escape_ascii().to_string());
            dispatcher.turn(Some(std::time::Duration::ZERO)).expect("a turn");
            let [asked, answers] = told.try_recv().expect("it began");
            assert_eq!((asked, answers.ip()), ((local, 1).into(), local));
        }
    }

    #[test]
    fn who_is_refused_has_no_session_any_more_when_that_is_told() {
        let store = Generated::at_once(|query| match query.name.as_bytes() {
            b"large" => Ok(Readable::bytes(vec![7; 2000])),
            _ => Err(StoreError::NotFound),
        });
        let known = Arc::new(Mutex::new(None::<Handle>));
        let (looks, (tell, told)) = (Arc::clone(&known), mpsc::channel());
        let observer = move |event: Event<'_>| {
            let handle = looks.lock().expect("no panic").clone().expect("it is known");
            let is_refusal = matches!(event, Event::Refused { .. });
            tell.send((is_refusal, handle.gauges().transfers)).expect("it is heard");
        };
        let config = Config::default().listen((Ipv4Addr::LOCALHOST, 1)).windows_bytes(1000);
        let config = config.model(Model::Iterative);
        let server = Server::bind_on(Rehearsal::start(), config, store, observer);
        let server = server.expect("a server");
        *known.lock().expect("no panic") = Some(server.handle());
        let Server { sockets, shared, mut dispatcher } = server;
        for datagram in [&b"\0\x01missing\0octet\0"[..], b"\0\x01large\0octet\0"] {
            let (peer, local) = (([192, 0, 2, 7], 2000).into(), Ipv4Addr::LOCALHOST.into());
            let requested = Requested { len: datagram.len(), peer, local };
            take_datagram(&shared, &mut dispatcher, &sockets[0], datagram, &requested);
            // Else who asks at once for the same again is taken for one who repeats itself.
            let name = datagram.escape_ascii();
            assert_eq!(told.try_recv(), Ok((true, 0)), "{name}: it still has one");
        }
        known.lock().expect("no panic").take();
    }

    #[test]
    fn memory_is_reserved_for_what_is_granted_beside_what_is_held_and_for_no_more() {
        // A network that has not answered may have a quarter.
        const MOST: usize = 4000;
        let large = "blksize=1000 windowsize=8";
        for (held, asked, reserved) in [
            (0, "", 516),
            (0, "blksize=1000", 1004),
            (0, "blksize=1000 windowsize=2", 2 * 1004),
            (0, large, 3 * 1004),
            (2000, "", 2000 + 516),
            (2000, large, 2000 + 1004),
            (2500, large, 2500 + 1004),
            // There is no room for one such block.
            (3400, large, 3400 + 516),
            (0, "blksize=8000 windowsize=8", 516),
        ] {
            let store = Generated::at_once(move |_| {
                Ok(match held {
                    0 => Readable::new(crate::transfer::Blocking::new(io::repeat(7))),
                    held => Readable::bytes(vec![7; held]),
                })
            });
            let config = Config::default().listen((Ipv4Addr::LOCALHOST, 1));
            let config = config.windows_bytes(4 * MOST).model(Model::Iterative);
            let options = asked.replace(['=', ' '], "\0");
            let options = if asked.is_empty() { options } else { options + "\0" };
            let datagram = format!("\0\x01f\0octet\0{options}");
            let (shared, _dispatcher) = asked_by_one(config, store, datagram.as_bytes());
            let told = shared.admission.gauges().windows_bytes;
            assert_eq!(told, reserved, "{asked}, and {held} bytes are held");
        }
    }

    #[test]
    fn an_upload_reserves_what_waits_for_its_disk_too_and_what_waits_in_its_socket() {
        let root = tempfile::tempdir().expect("a folder");
        let in_socket = TransferSocket::receive_memory(1004);
        for (on_disk, asked, reserved) in [
            (false, "blksize\x001000\0", 1004),
            (true, "blksize\x001000\0", 2 * 1004),
            (false, "blksize\x001000\0windowsize\x002\0", 2 * (1004 + in_socket)),
            (true, "blksize\x001000\0windowsize\x002\0", 2 * (2 * 1004 + in_socket)),
        ] {
            let store: Box<dyn Store> = match on_disk {
                false => Box::new(InMemory::new().uploads(Uploads::Create)),
                true => {
                    let folder = crate::store::Folder::open(root.path()).expect("a folder");
                    Box::new(folder.uploads(Uploads::Create))
                }
            };
            let config = Config::default().listen((Ipv4Addr::LOCALHOST, 1));
            let config = config.windows_bytes(1 << 20).model(Model::Iterative);
            let datagram = format!("\0\x02new\0octet\0{asked}");
            let (shared, mut dispatcher) = asked_by_one(config, store, datagram.as_bytes());
            let most = std::time::Duration::from_secs(10);
            while shared.admission.gauges().windows_bytes == 0 {
                dispatcher.turn(Some(most)).expect("a turn");
            }
            let told = shared.admission.gauges().windows_bytes;
            assert_eq!(told, reserved, "{asked:?}, on a disk: {on_disk}");
        }
    }

    #[test]
    fn a_file_is_known_by_the_name_that_its_store_has_or_else_by_the_policys() {
        for (policys, stores, served) in [
            (None, None, None),
            (Some("policys"), None, Some("policys")),
            (None, Some("stores"), Some("stores")),
            (Some("policys"), Some("stores"), Some("stores")),
        ] {
            let store = Generated::at_once(move |_| {
                let file = Readable::bytes(vec![7; 600]);
                Ok(stores.into_iter().fold(file, Readable::found))
            });
            let policy = move |_: &Query| {
                let profile = Profile::default();
                super::super::Verdict::Serve(policys.into_iter().fold(profile, Profile::name))
            };
            let config = Config::default().listen((Ipv4Addr::LOCALHOST, 1)).policy(policy);
            let config = config.model(Model::Iterative);
            let (shared, _dispatcher) = asked_by_one(config, store, b"\0\x01f\0octet\0");
            let (_, entry) = shared.admission.entries().remove(0);
            let told = entry.opened().expect("it is open").served.clone();
            assert_eq!(told, served.map(Filename::from), "{policys:?}, {stores:?}");
        }
    }

    #[test]
    fn what_is_written_is_known_to_be_as_long_as_its_client_says() {
        let store = InMemory::new().uploads(Uploads::Create);
        let config = Config::default().listen((Ipv4Addr::LOCALHOST, 1)).model(Model::Iterative);
        let datagram = b"\0\x02f\0octet\0tsize\x0077\0";
        let (shared, mut dispatcher) = asked_by_one(config, store, datagram);
        dispatcher.turn(Some(std::time::Duration::ZERO)).expect("a turn");
        let (_, entry) = shared.admission.entries().remove(0);
        assert_eq!(entry.opened().map(|opened| opened.size), Some(Some(77)));
    }

    #[test]
    fn what_a_path_takes_in_one_packet_matters_to_windows_of_large_blocks() {
        let ethernet = BlockSize::ETHERNET.get() as u16;
        for (bytes, blocks, matters) in
            [(ethernet + 1, 2, true), (ethernet + 1, 1, false), (ethernet, 2, false)]
        {
            let size = BlockSize::new(bytes).expect("a size");
            let window = WindowSize::new(blocks).expect("a window");
            let split = [false, true].map(|receives| may_split(receives, size, window));
            assert_eq!(split, [matters, false], "{blocks} blocks of {bytes} bytes");
        }
    }
    #[test]
    fn a_window_of_blocks_in_several_packets_each_has_256_of_these() {
        let granted = |bytes: u16, blocks| {
            let size = TransferOption::BlockSize(BlockSize::new(bytes).expect("a size"));
            let window = TransferOption::WindowSize(WindowSize::new(blocks).expect("a window"));
            let asked = Options::NONE.with(size).with(window);
            let path = || BlockSize::ETHERNET;
            fit_to_path(GrantLimits::default(), &asked, path).shape(&asked).1.get()
        };
        let ethernet = BlockSize::ETHERNET.get() as u16;
        assert_eq!([granted(ethernet, 300), granted(ethernet + 1, 300)], [300, 128]);
        assert_eq!([128, 129].map(|blocks| granted(ethernet + 1, blocks)), [128, 128]);
        assert_eq!([granted(8192, 64), granted(65_464, 15), granted(65_464, 1)], [42, 5, 1]);
    }
}
