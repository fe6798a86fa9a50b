//! How a server is asked: at one address after the other, with options and without.

use super::cancel::Call;
use super::sink::Reusable;
use super::{Client, Failure, Progress, Wishes};
use crate::limits;
use crate::net::{Ending, Session, System, TransferSocket};
use crate::proto::{Agreed, Time, Timing};
use crate::transfer::{Outcome, Summary, Transfer};
use crate::wire::{
    BlockSize, ErrorCode, Mode, Operation, Options, Packet, Request, TransferOption, WindowSize,
};
use std::io;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

/// Memory for a window that nobody asked for by number.
const WINDOW_BYTES: usize = 512 << 10;

/// Blocks in such a window: beyond this there is little to gain and much to lose at once.
const WIDEST_UNASKED: u16 = 64;

/// A server's addresses, and what its answers have shown.
#[derive(Debug)]
pub(super) struct Server {
    first: SocketAddr,
    others: Vec<SocketAddr>,
    /// The first address that answered; from then on no other is asked.
    answered: OnceLock<SocketAddr>,
    /// It lists by a file only.
    pub(super) lists_by_file: AtomicBool,
    /// It has granted options.
    knows_options: AtomicBool,
    /// It answers a request with options by an OACK that cannot be accepted.
    spoils_options: AtomicBool,
}

impl Server {
    pub(super) fn new(first: SocketAddr, others: Vec<SocketAddr>) -> Self {
        let [lists_by_file, knows_options, spoils_options] = [const { AtomicBool::new(false) }; 3];
        let answered = OnceLock::new();
        Self { first, others, answered, lists_by_file, knows_options, spoils_options }
    }

    pub(super) const fn first(&self) -> SocketAddr {
        self.first
    }

    pub(super) fn answered(&self) -> Option<SocketAddr> {
        self.answered.get().copied()
    }

    /// Whether to ask it without options from the start. One that has granted some knows them: it was a stranger's OACK then.
    fn is_plain(&self) -> bool {
        let [knows, spoils] = [&self.knows_options, &self.spoils_options];
        spoils.load(Ordering::Relaxed) && !knows.load(Ordering::Relaxed)
    }

    /// The addresses to ask.
    pub(super) fn candidates(&self) -> (SocketAddr, &[SocketAddr]) {
        self.answered().map_or((self.first, &self.others), |answered| (answered, &[]))
    }
}

/// Sees how a transfer is getting on, and may end it.
pub(super) type Watch<'a> = dyn FnMut(Progress) -> ControlFlow<()> + 'a;

/// A download is asked for again with a narrower window so often at most.
const NARROWED: u32 = 2;

/// Whether a transfer may end to be asked for with a narrower window, and with which.
pub(super) struct Narrower<'a> {
    may_be: &'a dyn Fn() -> bool,
    fits: Option<WindowSize>,
}

impl Narrower<'_> {
    /// It may not.
    pub(super) const fn never() -> Self {
        Self { may_be: &|| false, fits: None }
    }
}

/// What is asked for, options aside.
#[derive(Clone, Copy)]
pub(super) struct Question<'a> {
    pub(super) operation: Operation,
    pub(super) name: &'a [u8],
    pub(super) size: Option<TransferOption>,
}

impl Client {
    /// Asks one address after the other, until one answers or the payload cannot be had `again`.
    pub(super) fn ask_each<T>(
        &self,
        again: impl Fn() -> bool,
        mut question: impl FnMut(Ask<'_>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let call = self.canceller.begin()?;
        let at = |address| self.ask(address, call);
        let (first, others) = self.server.candidates();
        let mut done = question(at(first));
        for other in others {
            match &done {
                Err(failure) if failure.may_be_about_the_address() && again() => {
                    done = question(at(*other));
                }
                _ => break,
            }
        }
        // Whatever else came of it meanwhile, it was to end.
        done.or_else(|failure| self.canceller.check(call).and(Err(failure)))
    }

    pub(super) fn ask(&self, address: SocketAddr, call: Call) -> Ask<'_> {
        let plain = self.wishes.plain || self.server.is_plain();
        Ask { system: &self.system, address, wishes: Wishes { plain, ..self.wishes }, call }
    }

    /// Asks with options, and once more without them where a server ignores or refuses a request that has any, as
    /// long as the payload was left alone.
    pub(super) fn ask_twice<P>(
        &self,
        ask: Ask<'_>,
        question: Question<'_>,
        payload: &Reusable<P>,
        watch: &mut Watch<'_>,
        transfer: impl Fn(Time, Timing, &Request<'_>) -> Transfer,
    ) -> Result<Summary, Failure> {
        let plain = Ask { wishes: Wishes { plain: true, ..ask.wishes }, ..ask };
        let mut has_begun = false;
        let watch_begin = &mut |now: Progress| {
            has_begun |= now.bytes > 0;
            watch(now)
        };
        match self.ask_for_what_fits(ask, question, payload, watch_begin, &transfer) {
            Err(failure)
                if self.may_be_about_options(&failure)
                    && !(ask.wishes.plain || has_begun || payload.is_used()) =>
            {
                match self.ask_for_what_fits(plain, question, payload, watch, transfer) {
                    // What was said before tells more than that nothing is said now.
                    Err(silence) if silence.may_be_about_the_address() => {
                        Err(if failure.may_be_about_the_address() { silence } else { failure })
                    }
                    done => done,
                }
            }
            done => done,
        }
    }

    /// Asks, and again for a narrower window where the path has no room for those that come, as long as the payload was
    /// left alone.
    fn ask_for_what_fits<P>(
        &self,
        mut ask: Ask<'_>,
        question: Question<'_>,
        payload: &Reusable<P>,
        watch: &mut Watch<'_>,
        transfer: impl Fn(Time, Timing, &Request<'_>) -> Transfer,
    ) -> Result<Summary, Failure> {
        for left in (0..=NARROWED).rev() {
            let (socket, request) = ask.request(question)?;
            refuse_too_long(&request)?;
            let timing = ask.wishes.timing(request.operation);
            let may_narrow = || left > 0 && !payload.is_used();
            let mut narrower = Narrower { may_be: &may_narrow, fits: None };
            let on = (socket, question.size);
            let begin = |now| transfer(now, timing, &request);
            match (self.converse(ask, on, watch, &mut narrower, begin), narrower.fits) {
                (Err(Failure::Cancelled), Some(fits)) => ask.wishes.window = Some(fits),
                (done, _) => return done,
            }
        }
        Err(Failure::Cancelled)
    }

    /// Whether it may fare better without options. A server that has granted some does not mean them when it says that a
    /// file is not there.
    fn may_be_about_options(&self, failure: &Failure) -> bool {
        let knows_options = self.server.knows_options.load(Ordering::Relaxed);
        match failure {
            Failure::Server { code: ErrorCode::NotFound | ErrorCode::AccessViolation, .. }
                if knows_options =>
            {
                false
            }
            failure => failure.may_be_about_options(),
        }
    }

    /// One transfer, from its first packet to its outcome; of a write the size is known.
    pub(super) fn converse(
        &self,
        ask: Ask<'_>,
        (socket, size): (TransferSocket, Option<TransferOption>),
        watch: &mut Watch<'_>,
        narrower: &mut Narrower<'_>,
        transfer: impl FnOnce(Time) -> Transfer,
    ) -> Result<Summary, Failure> {
        let transfer = transfer(self.system.now());
        let session = Arc::new(Session::new(socket, Arc::clone(&self.system), transfer));
        let watched = self.canceller.watch(ask.call, &session)?;
        let ended = session.run(|now, transfer| {
            if watch(Progress::of(transfer.summary())).is_break() {
                session.end(Ending::Stop("cancelled".into()));
            } else if let Some(fits) = transfer.window_that_fits(now)
                && (narrower.may_be)()
            {
                narrower.fits = Some(fits);
                session.end(Ending::Stop("asking for a narrower window".into()));
            }
        });
        drop(watched);
        let summary = ended?;
        // How a transfer stands that failed without an answer was not seen yet.
        let _ = watch(Progress::of(&summary));
        let answered = session.socket().is_connected();
        if answered {
            self.server.answered.get_or_init(|| ask.address);
        }
        let own = match size {
            Some(TransferOption::TransferSize(own)) if own > 0 => Some(own),
            _ => None,
        };
        let total = summary.agreed.transfer_size().or(own);
        if summary.agreed != Agreed::default() {
            self.server.knows_options.store(true, Ordering::Relaxed);
        }
        if matches!(summary.outcome, Some(Outcome::Disagreement(_))) {
            self.server.spoils_options.store(true, Ordering::Relaxed);
        }
        match &summary.outcome {
            Some(Outcome::Complete) => Ok(summary),
            Some(Outcome::Stopped | Outcome::Local(..)) | None => {
                Err(Failure::of(summary.outcome, ask.address, summary.bytes, answered))
            }
            outcome => {
                let failure = Failure::of(outcome.clone(), ask.address, summary.bytes, answered);
                Err(failure.with_blocks(&summary, total))
            }
        }
    }
}

/// Beyond this it is read by no server, and by few beyond 512 bytes.
pub(super) fn refuse_too_long(request: &Request<'_>) -> Result<(), Failure> {
    let packet = Packet::Request(*request).to_vec().len();
    if packet <= limits::REQUEST_BYTES {
        return Ok(());
    }
    let name = request.name.len();
    Err(Failure::NameTooLong {
        bytes: name,
        room: (limits::REQUEST_BYTES + name).saturating_sub(packet),
    })
}

impl Progress {
    const fn of(summary: &Summary) -> Self {
        let Summary { bytes, packets, retransmitted, agreed, .. } = summary;
        let total = agreed.transfer_size();
        Self { bytes: *bytes, total, packets: *packets, retransmitted: *retransmitted }
    }
}

/// How one address is asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask<'a> {
    pub(super) system: &'a Arc<dyn System>,
    pub(super) address: SocketAddr,
    pub(super) wishes: Wishes,
    pub(super) call: Call,
}

impl Ask<'_> {
    /// What is wished for, or what fits the path in one piece.
    pub(super) fn block_size(&self) -> BlockSize {
        let fitting = || self.path_block_size().max(BlockSize::DEFAULT);
        self.wishes.block_size.unwrap_or_else(fitting)
    }

    /// The largest block that travels in one packet.
    pub(super) fn path_block_size(&self) -> BlockSize {
        TransferSocket::path_block_size(&**self.system, self.address)
    }

    /// In netascii the size on the wire is another, and tftp-hpa's server refuses all options for it.
    pub(super) fn size_of_a_read(&self) -> Option<TransferOption> {
        (self.wishes.mode == Mode::Octet).then_some(TransferOption::TransferSize(0))
    }

    /// What is sent at first, and the socket that it leaves by.
    pub(super) fn request<'q>(
        &self,
        Question { operation, name, size }: Question<'q>,
    ) -> io::Result<(TransferSocket, Request<'q>)> {
        let socket = TransferSocket::ask(&**self.system, self.address)?;
        let socket = socket.offload(!self.wishes.no_offload);
        let options = if self.wishes.plain { Options::NONE } else { self.options(&socket, size)? };
        Ok((socket, Request { operation, name, mode: self.wishes.mode, options }))
    }

    fn options(
        &self,
        socket: &TransferSocket,
        size: Option<TransferOption>,
    ) -> io::Result<Options> {
        let block_size = self.block_size();
        let packet = block_size.packet_bytes();
        let window = match self.wishes.window {
            Some(window) => {
                let blocks = window.get().min(limits::WIDEST_WINDOW);
                socket.reserve_receive_buffer(packet, blocks)?;
                blocks
            }
            None => {
                let blocks = (WINDOW_BYTES / packet).clamp(1, usize::from(WIDEST_UNASKED)) as u16;
                socket.reserve_receive_buffer(packet, blocks)?
            }
        };
        let window = WindowSize::new(window).unwrap_or(WindowSize::LOCKSTEP);
        let mut options = size.map_or(Options::NONE, |size| Options::NONE.with(size));
        options = options.with(TransferOption::BlockSize(block_size));
        if window > WindowSize::LOCKSTEP {
            options = options.with(TransferOption::WindowSize(window));
        }
        if let Some(timeout) = self.wishes.timeout {
            options = options.with(TransferOption::Timeout(timeout));
        }
        Ok(options)
    }
}
