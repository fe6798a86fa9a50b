//! What the server and the process of a transfer tell each other.
//!
//! The process is believed nothing that could harm more than its own transfer: what it says is bounded here.

use crate::limits;
use crate::net::Ending;
use crate::proto::{Timing, accept};
use crate::transfer::{Outcome, PeerWords, Summary, Terms, error_code};
use crate::wire::{BlockSize, ErrorCode, Mode, Options, Packet};
use serde::{Deserialize, Serialize};
use std::io::{self, ErrorKind};
use std::num::NonZeroU64;
use std::time::Duration;

/// From the process: it wants the next so many bytes of the file.
pub(super) const READ: u8 = b'r';
/// From the process: these are the next bytes of the file.
pub(super) const WRITE: u8 = b'w';
/// From the process: the file is whole.
pub(super) const COMMIT: u8 = b'c';
/// From the process: how far it is.
pub(super) const FIGURES: u8 = b'f';
/// From the process: how it went; it only answers a repeated last block from now on.
pub(super) const DALLIES: u8 = b'd';
/// From the process: how it went, and nothing more follows.
pub(super) const ENDED: u8 = b'e';
/// From the process: it has sent so many bytes since it asked last, and asks when it may send more.
pub(super) const SHARE: u8 = b's';
/// From the process: it is there.
pub(super) const ALIVE: u8 = b'a';

/// To the process: it is done; what was read follows, or what may be sent: after so many microseconds so many bytes.
pub(super) const DONE: u8 = b'd';
/// To the process: it failed.
pub(super) const FAILED: u8 = b'f';

/// An order: the client has asked again.
pub(super) const REPEAT: u8 = b'r';
/// An order: to end with an ERROR of this text.
pub(super) const STOP: u8 = b's';
/// An order: to end without a word.
pub(super) const ABANDON: u8 = b'a';

/// A message is no longer than this: so many bytes of a file, and what stands before them.
pub(super) const MOST_BYTES: usize = limits::BLOCKING_READ_BYTES + 1;

/// So often a process says that it is there.
pub(super) const ALIVE_EVERY: Duration = Duration::from_secs(2);

/// What a process needs to know.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Job {
    writes: bool,
    is_text: bool,
    /// The OACK.
    answer: Vec<u8>,
    /// In the order of [`Timing`]'s fields.
    times: [Duration; 6],
    rate: Option<NonZeroU64>,
    /// Whether it has to ask how much of the file may leave.
    pub(super) is_held: bool,
    pub(super) path_block: Option<u16>,
    pub(super) offload: bool,
    /// So much is read ahead or written behind once the client has answered.
    pub(super) buffer: usize,
    /// It is over before it begins.
    pub(super) ending: Option<Ending>,
}

impl Job {
    pub(super) fn new(terms: &Terms, writes: bool) -> Self {
        let Timing { first, floor, ceiling, patience, unanswered, peer_default, rate } =
            terms.timing;
        Self {
            writes,
            is_text: terms.mode == Mode::Netascii,
            answer: match terms.answer.is_empty() {
                true => Vec::new(),
                false => Packet::Oack(terms.answer).to_vec(),
            },
            times: [first, floor, ceiling, patience, unanswered, peer_default],
            rate,
            is_held: false,
            path_block: None,
            offload: true,
            buffer: 0,
            ending: None,
        }
    }

    pub(super) const fn writes(&self) -> bool {
        self.writes
    }

    /// The largest block that travels in one packet, where that is known.
    pub(super) fn path_block(&self) -> Option<BlockSize> {
        self.path_block.and_then(BlockSize::new)
    }

    /// What was granted. What is agreed is what the OACK says, and nothing else.
    pub(super) fn terms(&self) -> io::Result<Terms> {
        let wrong = || io::Error::from(ErrorKind::InvalidData);
        let answer = match Packet::parse(&self.answer) {
            Ok(Packet::Oack(answer)) => answer,
            // None is sent that has no option.
            _ if self.answer.is_empty() => Options::NONE,
            _ => return Err(wrong()),
        };
        let agreed = accept(&answer, &answer).map_err(|_| wrong())?;
        let [first, floor, ceiling, patience, unanswered, peer_default] = self.times;
        let rate = self.rate;
        let timing = Timing { first, floor, ceiling, patience, unanswered, peer_default, rate };
        let mode = if self.is_text { Mode::Netascii } else { Mode::Octet };
        Ok(Terms { agreed, answer, mode, timing })
    }
}

/// A [`Summary`] without the terms, which the server knows.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Figures {
    bytes: u64,
    packets: u64,
    retransmitted: u64,
    probes: u64,
    unproven_bytes: u64,
    round_trip: Option<Duration>,
    end_missing: bool,
    outcome: Option<How>,
    pub(super) is_proven: bool,
    /// How many repeats were answered.
    pub(super) repeats: u64,
}

#[derive(Debug, Serialize, Deserialize)]
enum How {
    Complete,
    Unconfirmed,
    Silent,
    Unreachable,
    PeerError(u16, Vec<u8>),
    Disagreement,
    Words(Vec<u8>),
    Oversized,
    Short,
    Local(u16, String),
    Stopped,
    Superseded,
}

/// No sum of a server's figures overflows by one of these.
const MOST: u64 = 1 << 48;
const LONGEST_ROUND_TRIP: Duration = Duration::from_secs(3600);

impl Figures {
    pub(super) fn of(summary: &Summary, is_proven: bool, repeats: u64) -> Self {
        let Summary { bytes, packets, retransmitted, probes, unproven_bytes, .. } = *summary;
        let Summary { round_trip, end_missing, .. } = *summary;
        let outcome = summary.outcome.as_ref().map(|outcome| match outcome.clone() {
            Outcome::Complete => How::Complete,
            Outcome::Unconfirmed => How::Unconfirmed,
            Outcome::Silent => How::Silent,
            Outcome::Unreachable => How::Unreachable,
            Outcome::PeerError(code, text) => How::PeerError(code.into(), text),
            Outcome::Disagreement(_) => How::Disagreement,
            Outcome::Words(text) => How::Words(text),
            Outcome::Oversized => How::Oversized,
            Outcome::Short => How::Short,
            Outcome::Local(code, text) => How::Local(code.into(), text),
            Outcome::Stopped => How::Stopped,
            Outcome::Superseded => How::Superseded,
        });
        Self {
            bytes,
            packets,
            retransmitted,
            probes,
            unproven_bytes,
            round_trip,
            end_missing,
            outcome,
            is_proven,
            repeats,
        }
    }

    /// Puts them into `summary`.
    pub(super) fn into_summary(self, summary: &mut Summary) {
        let cut = |mut text: Vec<u8>| {
            text.truncate(limits::ERROR_TEXT_BYTES);
            text
        };
        let outcome = self.outcome.map(|how| match how {
            How::Complete => Outcome::Complete,
            How::Unconfirmed => Outcome::Unconfirmed,
            How::Silent => Outcome::Silent,
            How::Unreachable => Outcome::Unreachable,
            How::PeerError(code, text) => Outcome::PeerError(code.into(), cut(text)),
            How::Disagreement => Outcome::Disagreement(None),
            How::Words(text) => Outcome::Words(cut(text)),
            How::Oversized => Outcome::Oversized,
            How::Short => Outcome::Short,
            How::Local(code, text) => {
                let text = text.chars().take(limits::ERROR_TEXT_BYTES).collect();
                Outcome::Local(code.into(), text)
            }
            How::Stopped => Outcome::Stopped,
            How::Superseded => Outcome::Superseded,
        });
        summary.bytes = self.bytes.min(MOST);
        summary.packets = self.packets.min(MOST);
        summary.retransmitted = self.retransmitted.min(summary.packets);
        summary.probes = self.probes.min(summary.packets);
        summary.unproven_bytes = self.unproven_bytes.min(MOST);
        summary.round_trip = self.round_trip.map(|it| it.min(LONGEST_ROUND_TRIP));
        summary.end_missing = self.end_missing;
        summary.outcome = outcome;
    }
}

/// An error of the file, which the process tells its peer as far as that may know it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Failure {
    code: u16,
    /// For the peer.
    words: Option<String>,
    text: String,
}

impl Failure {
    pub(super) fn of(error: &io::Error) -> Self {
        let words = PeerWords::of(error).map(|words| words.0.to_owned());
        let text = error.to_string().chars().take(limits::ERROR_TEXT_BYTES).collect();
        Self { code: error_code(error).into(), words, text }
    }

    /// The error again. There is one in the life of a process, so that its words may stay for that.
    pub(super) fn into_error(self) -> io::Error {
        let kind = match ErrorCode::from(self.code) {
            ErrorCode::DiskFull => ErrorKind::StorageFull,
            ErrorCode::FileExists => ErrorKind::AlreadyExists,
            ErrorCode::AccessViolation => ErrorKind::PermissionDenied,
            _ => ErrorKind::Other,
        };
        match self.words {
            Some(words) => PeerWords(words.leak()).because(kind, self.text),
            None => io::Error::new(kind, self.text),
        }
    }
}

/// `value` behind what kind of message it is.
pub(super) fn written(kind: u8, value: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut message = vec![kind];
    serde_json::to_writer(&mut message, value)?;
    Ok(message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{Agreed, GrantLimits, grant};
    use crate::wire::{Operation, TransferOption, WireBlock};

    fn terms(asked: Options) -> Terms {
        let limits = GrantLimits::default();
        let (agreed, answer) = grant(Operation::Read, &asked, &limits, Some(7_000_000_000));
        let secs = Duration::from_secs;
        // Each time is another one.
        let timing = Timing {
            first: secs(1),
            floor: secs(2),
            ceiling: secs(3),
            patience: secs(4),
            unanswered: secs(5),
            peer_default: secs(6),
            rate: NonZeroU64::new(7),
        };
        Terms { agreed, answer, mode: Mode::Netascii, timing }
    }

    #[test]
    fn the_terms_are_the_same_in_the_process() {
        let size = TransferOption::BlockSize(BlockSize::ETHERNET);
        let asked = Options::NONE.with(size).with(TransferOption::TransferSize(0));
        for terms in [terms(Options::NONE), terms(asked)] {
            let job = serde_json::to_vec(&Job::new(&terms, false)).expect("JSON");
            let job: Job = serde_json::from_slice(&job).expect("a job");
            assert_eq!(job.terms().expect("terms"), terms);
        }
        assert_ne!(terms(asked).agreed, Agreed::default());
        let known = Job { path_block: Some(1428), ..Job::new(&terms(asked), false) };
        let unknown = Job { path_block: None, ..Job::new(&terms(asked), false) };
        let sizes = [known, unknown].map(|job| job.path_block().map(BlockSize::get));
        assert_eq!(sizes, [Some(1428), None], "what travels in one packet is the same");
        let answer = Packet::Ack { block: WireBlock(0) }.to_vec();
        let job = Job { answer, ..Job::new(&terms(asked), false) };
        let refused = job.terms().expect_err("terms of what grants nothing");
        assert_eq!(refused.kind(), ErrorKind::InvalidData);
    }

    #[test]
    fn figures_and_ends_come_back_as_they_were_and_within_bounds() {
        let words = || b"no".to_vec();
        for outcome in [
            None,
            Some(Outcome::Complete),
            Some(Outcome::Unconfirmed),
            Some(Outcome::Silent),
            Some(Outcome::Unreachable),
            Some(Outcome::PeerError(ErrorCode::DiskFull, words())),
            Some(Outcome::Disagreement(None)),
            Some(Outcome::Words(words())),
            Some(Outcome::Oversized),
            Some(Outcome::Short),
            Some(Outcome::Local(ErrorCode::AccessViolation, "no".into())),
            Some(Outcome::Stopped),
            Some(Outcome::Superseded),
        ] {
            let mut summary =
                Summary { bytes: 9, packets: 8, retransmitted: 3, ..Summary::default() };
            (summary.probes, summary.unproven_bytes) = (2, 5);
            (summary.round_trip, summary.end_missing) = (Some(Duration::from_millis(7)), true);
            summary.outcome = outcome;
            let message = written(FIGURES, &Figures::of(&summary, true, 4)).expect("JSON");
            let figures: Figures = serde_json::from_slice(&message[1..]).expect("figures");
            assert_eq!((message[0], figures.is_proven, figures.repeats), (FIGURES, true, 4));
            let mut told = Summary::default();
            figures.into_summary(&mut told);
            assert_eq!(format!("{told:?}"), format!("{summary:?}"));
        }
        // What a process says that was taken over.
        let mut summary = Summary { bytes: u64::MAX, packets: u64::MAX, ..Summary::default() };
        (summary.retransmitted, summary.probes) = (u64::MAX, u64::MAX);
        (summary.unproven_bytes, summary.round_trip) = (u64::MAX, Some(Duration::MAX));
        let (long, text) = (vec![b'a'; 10_000], vec![b'a'; limits::ERROR_TEXT_BYTES]);
        let in_words = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        for (outcome, cut) in [
            (
                Outcome::PeerError(ErrorCode::DiskFull, long.clone()),
                Outcome::PeerError(ErrorCode::DiskFull, text.clone()),
            ),
            (Outcome::Words(long.clone()), Outcome::Words(text.clone())),
            (
                Outcome::Local(ErrorCode::DiskFull, in_words(&long)),
                Outcome::Local(ErrorCode::DiskFull, in_words(&text)),
            ),
        ] {
            summary.outcome = Some(outcome);
            let mut told = Summary::default();
            Figures::of(&summary, true, 0).into_summary(&mut told);
            assert_eq!(told.outcome, Some(cut));
            let Summary { bytes, packets, retransmitted, probes, unproven_bytes, .. } = told;
            assert_eq!([bytes, packets, retransmitted, probes, unproven_bytes], [MOST; 5]);
            assert_eq!(told.round_trip, Some(LONGEST_ROUND_TRIP));
        }
        let failure = Failure::of(&io::Error::other(in_words(&long)));
        assert_eq!(failure.text, in_words(&text), "what goes the other way is bounded, too");
    }

    #[test]
    fn an_error_keeps_its_code_and_what_the_peer_may_know() {
        let full = io::Error::new(ErrorKind::QuotaExceeded, PeerWords("too much"));
        let error = Failure::of(&full).into_error();
        assert_eq!(error_code(&error), ErrorCode::DiskFull);
        assert_eq!(PeerWords::of(&error), Some(PeerWords("too much")));
        let refused = PeerWords("no").because(ErrorKind::PermissionDenied, "not by us");
        let error = Failure::of(&refused).into_error();
        let (code, words) = (error_code(&error), PeerWords::of(&error));
        assert_eq!((code, words), (ErrorCode::AccessViolation, Some(PeerWords("no"))));
        assert_eq!(error.to_string(), "not by us");
        let other = Failure::of(&io::Error::other("of ours")).into_error();
        assert_eq!((other.to_string(), PeerWords::of(&other)), ("of ours".into(), None));
    }
}
