//! Every bound in one place, each with its reason.
//!
//! Shown are the defaults and the promises that a user can notice; the rest is the library's own.

use core::time::Duration;

// Times of a transfer.

/// The retransmission interval before a round trip was measured is 1 s (RFC 6298 § 2.1).
pub const FIRST_INTERVAL: Duration = Duration::from_secs(1);

/// No measured retransmission interval is shorter than 200 ms: it sends all again that is under way, and a busy peer is
/// silent for as long. What is lost by chance the probe before it repairs.
pub const SHORTEST_INTERVAL: Duration = Duration::from_millis(200);

/// A client that asked for options and has turned an OACK away waits 100 ms for another answer, and then asks without them. A
/// server in the same network has answered by then, and where the OACK was the server's own, a person does not notice the
/// wait.
pub(crate) const ANOTHER_ANSWER: Duration = Duration::from_millis(100);

/// The shortest constant interval at which a client asks: a server that repeats what it answers is heard in between.
pub const SHORTEST_ASKING: Duration = ECHO_SPAN;

/// A probe leaves after 10 ms of silence at the earliest: below this a busy peer's scheduling looks like loss.
pub const SHORTEST_PROBE: Duration = Duration::from_millis(10);

/// An acknowledgement that comes again within 1 ms of the window's first block may be a copy of the network's or of an eager
/// peer's; if it was a report of a gap, silence follows, and tells.
pub(crate) const SOONEST_REPORT: Duration = Duration::from_millis(1);

/// No retransmission interval is longer than 5 s: beyond this a transfer that could go on looks dead to the person who
/// waits.
pub const LONGEST_INTERVAL: Duration = Duration::from_secs(5);

/// A peer that makes no progress for 30 s is gone. GRUB stops acknowledging for as long as its consumer is slow.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The longest time that a transfer may be told to run by is a year, so that no sum of times overflows.
#[doc(hidden)]
pub const LONGEST_TIMING: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// A copy of a datagram that was made by the network, or by a peer that answers every duplicate, is here within 50 ms;
/// no peer's own timer is so short.
#[doc(hidden)]
pub const ECHO_SPAN: Duration = Duration::from_millis(50);

/// A peer that says nothing of its interval is taken to have one of 5 s: atftp and tftp-hpa do, firmware is quicker.
pub const PEER_INTERVAL: Duration = Duration::from_secs(5);

/// What went out three times more by our own timer, in vain, then leaves the peer's the time to run out, half as much again as
/// [`PEER_INTERVAL`]. BSD's tftp, tftp-hpa and atftp start theirs anew at whatever comes, and answer a copy once or never: what
/// they lost they would not send again while we sent more often.
pub(crate) const REPEATS_IN_A_ROW: u32 = 3;

/// A client that has as many bytes as were told waits 5 s for the empty block that ends the file, or three negotiated
/// intervals: every server repeats its last block within that, but those that never send it.
#[doc(hidden)]
pub const MISSING_END: Duration = PEER_INTERVAL;

/// It waits 15 s for that at most: the file is whole.
#[doc(hidden)]
pub const LONGEST_MISSING_END: Duration = Duration::from_secs(15);

/// After its last ACK a server answers a repeated last DATA for two of the client's intervals (it dallies): one for the
/// loss of that ACK and one for the loss of the next.
#[doc(hidden)]
pub const DALLY_INTERVALS: u32 = 2;

/// A server dallies for 10 s at most, whatever interval was negotiated: the file is safe, and a client that waits
/// longer for its one ACK costs all others a port meanwhile. It is two [`PEER_INTERVAL`].
pub const LONGEST_DALLY: Duration = Duration::from_secs(10);

/// A wait of less than 9 ms is kept to the microsecond: what is paced leaves at a part of a millisecond, and after 8 ms at the
/// latest. The kernel's timeout of a socket is a multiple of four, and epoll counts whole ones. A probe is due after 10 ms, so
/// that a wait for the answer to a window is none of these.
pub(crate) const BRIEF_WAIT: Duration = Duration::from_millis(9);

/// Packets for which a socket has no room are held for 1 s: what a link cannot take by then is lost like any other.
pub const HELD: Duration = Duration::from_secs(1);

/// How long a thread polls for an answer before it sleeps: about what it costs to be woken.
pub(crate) const BUSY_POLL: Duration = Duration::from_micros(50);

/// `rtftpd` lets transfers run on for 10 s by default when it is stopped.
#[doc(hidden)]
pub const DRAIN: Duration = Duration::from_secs(10);

// Packets and windows.

/// A window has 32,767 blocks at most, half of the 16-bit number space less one: beyond it a block number no longer
/// says which block is meant.
pub const WIDEST_WINDOW: u16 = (1 << 15) - 1;

/// A window begins with a burst of 10 packets at most, until it was seen what the path bears. RFC 6928 has found that nearly
/// all paths do.
pub const BURST_PACKETS: u64 = 10;

/// A transfer that is held to a rate has 1 KiB in a second at least: of the largest blocks one leaves in 64 s then, and no
/// client waits for longer.
pub const SLOWEST_RATE: u64 = 1 << 10;

/// The window of one transfer has 1 MiB of memory at most. It holds 64 blocks of 1,428 bytes ten times over, or 15 of
/// 65,464.
pub const WINDOW_BYTES: usize = 1 << 20;

/// A window of blocks that the path carries in several packets each has 256 of these at most. Where one is lost, the others of
/// its block stay in the receiver's kernel for 30 s, and once they take 4 MiB, four such windows, that takes no block any more.
#[doc(hidden)]
pub const SPLIT_WINDOW_PACKETS: usize = 256;

/// A lock-step transfer reads 16 KiB ahead, so that the file costs one system call for many small blocks.
#[doc(hidden)]
pub const READ_AHEAD_BYTES: usize = 16 << 10;

/// An upload is written in pieces of 256 KiB, so that the hand-over to a thread that may wait is small beside the work.
#[doc(hidden)]
pub const WRITE_BEHIND_BYTES: usize = 256 << 10;

/// Where a thread writes itself what it receives in lock-step it does so from 60 KiB on: the largest block at once, while the
/// next one comes, and of small ones as many as make the call cheap.
#[doc(hidden)]
pub const WRITE_AT_ONCE_BYTES: usize = 60 << 10;

/// A plain reader is asked for so much at once: a window of 64 blocks that fit an Ethernet takes two reads.
pub(crate) const BLOCKING_READ_BYTES: usize = 64 << 10;

/// All lock-step transfers together read ahead so much, each its share: with ten thousand of them memory counts for
/// more than system calls.
pub(crate) const ALL_READ_AHEAD_BYTES: usize = 2 << 20;

/// All uploads together write behind so much, each its share: a thousand of them in pieces of 32 KiB.
pub(crate) const ALL_WRITE_BEHIND_BYTES: usize = 32 << 20;

/// The text of an ERROR has 128 bytes at most, the longest that old clients hold without harm.
pub const ERROR_TEXT_BYTES: usize = 128;

/// The largest datagram that UDP over IPv4 carries; nothing larger arrives.
pub(crate) const DATAGRAM_BYTES: usize = 65_507;

/// A request. RFC 2347 has 512 as the maximum; firmware pads to 516, and some ask with more options.
pub(crate) const REQUEST_BYTES: usize = 2_048;

/// The name in a request: the longest path that Linux opens.
pub(crate) const NAME_BYTES: usize = 4_096;

// What a client may cause that has not proven its address.

/// A client that has not answered gets 5 packets at most: an OACK is small, and GRUB never repeats the ACK it lost.
pub const UNPROVEN_PACKETS: u32 = 5;

/// A client that has not answered gets 1,032 bytes at most: DATA 1 of 512 bytes, twice. Other servers send 3,096 to
/// 3,612.
pub const UNPROVEN_BYTES: usize = 1032;

/// A client that has not answered for 3 s gives way to others who need its place: what was lost has come again by then,
/// and only a slow device keeps so long. Where there is room it stays for the whole patience.
pub(crate) const UNPROVEN_STAY: Duration = Duration::from_secs(3);

/// A transfer that has stood still for 30 s, though its time-out may be longer, gives way to others who need its place.
pub(crate) const STILL_STAY: Duration = PATIENCE;

/// Who needs a place looks for one of those no more often than once in a second: it is a look at all sessions.
pub(crate) const BETWEEN_LOOKS: Duration = Duration::from_secs(1);

/// The part of the sessions, of the ports and of the memory, as a divisor, that is kept for other networks than the
/// busiest, even where all its clients answer.
pub(crate) const OTHERS_RESERVE_DIVISOR: usize = 4;

/// The part of the sessions and of their memory, as a divisor, that is kept for clients that have answered: a flood of
/// forged requests may not take all.
pub(crate) const PROVEN_RESERVE_DIVISOR: usize = 4;

/// The part of them, as a divisor, that the clients of one network (an IPv4 /24, an IPv6 /56) may have without having
/// answered. Loopback cannot be forged from outside and is exempt.
pub(crate) const UNPROVEN_SHARE_DIVISOR: usize = 4;

/// One network gets 128 answers in each second that open no session: ERRORs that are longer than the request, and those to
/// repeats. Four times as many go at once: PXELINUX and GRUB ask for tens of files that are not there in one go, and a rack
/// behind one address does so together. Other ERRORs go without their text, and other repeats unanswered.
pub const ERRORS_PER_SECOND: u32 = 128;

/// What one network gets of them at once.
pub const ERROR_BURST: u32 = BURST_SECONDS * ERRORS_PER_SECOND;

/// All networks together get 8,192 of them in each second: ten thousand that are forged cost no more than that.
pub const ALL_ERRORS_PER_SECOND: u32 = 8_192;

/// One network may ask 16,384 times in a second: a rack that starts asks each of its names in a moment. More is a flood, and
/// dropped before anything is looked up.
pub const REQUESTS_PER_SECOND: u32 = 16_384;

/// All networks together may ask 65,536 times in a second: beyond it one processor does nothing else.
pub const ALL_REQUESTS_PER_SECOND: u32 = 65_536;

/// Four times what a second allows may come at once: boots come in bursts.
pub(crate) const BURST_SECONDS: u32 = 4;

/// Networks that are counted apart; those that share a slot share its tokens.
pub(crate) const NETWORK_SLOTS: usize = 1_024;

/// Where all downloads share a rate, what it brings in 10 ms may leave ahead of it: who is woken late by a busy machine
/// makes good for so much.
pub(crate) const SHARE_AHEAD: Duration = Duration::from_millis(10);

/// A transfer that waits for its share looks again after 100 ms at the latest: so long may it have less than others left.
pub(crate) const SHARE_AGAIN: Duration = Duration::from_millis(100);

/// Those of more than a thousand clients look less often, so that there are 10,000 looks in a second at most.
pub(crate) const SHARE_LOOK: Duration = Duration::from_micros(100);

/// What one transfer sends at once beyond that is counted up to 128 KiB: the largest datagrams are half as long.
pub(crate) const SHARE_BYTES: u128 = 128 << 10;

/// What a client was sent counts until the rate has made up for it, also when its last transfer has ended, unless there
/// are more clients than these: those that are gone may be addresses that somebody made up.
pub(crate) const SHARES_KEPT: usize = 1_024;

/// On a port that all share, blocks to an address of which nobody knows whether it hears leave up to 32 ms late: less than
/// any client's own time-out, and sixteen times what answers may differ by.
pub const LONGEST_HOLD: Duration = Duration::from_millis(32);

/// An address hears what it is sent, if its answers come as long after that as each other, to 2 ms.
pub const HEARD_WITHIN: Duration = Duration::from_millis(2);

/// So many answers in a row must: whoever guesses is right once in 10^12 times.
pub const HEARD_ROUNDS: usize = 12;

/// After so many blocks that were held in vain no more are: what comes from there is too uneven to tell.
pub(crate) const MOST_HELD: u32 = 96;

/// An address that has shown it need not again for 10 minutes: a boot has many files.
pub const HEARD_FOR: Duration = Duration::from_secs(10 * 60);

/// So many addresses are known to hear.
pub(crate) const HEARD_ADDRESSES: usize = 65_536;

/// Addresses of one network that have not shown it get 2 MiB in a second together, once they have acknowledged anything.
pub const UNHEARD_RATE_OF_NETWORK: u32 = 2 << 20;

/// All of them together get 16 MiB in a second.
pub const UNHEARD_RATE: u32 = 16 << 20;

/// They get the bytes of 8 s at once: the files of many a boot.
pub(crate) const UNHEARD_BURST_SECONDS: u32 = 8;

/// Headers of IPv4 and UDP, which travel with each packet.
pub(crate) const HEADER_BYTES: usize = 28;

// Sessions, and what they have.

/// A server runs 16,384 transfers at once by default: a data centre that starts at the same moment. Each costs a socket
/// and about 2 KiB.
pub const SESSIONS: usize = 16_384;

/// The windows of all transfers have 512 MiB of memory by default. When it is used up, windows shrink to one small
/// block.
pub const WINDOWS_BYTES: usize = 512 << 20;

/// A download takes one descriptor, its socket, and its file another, which all share who read the same file: a boot has
/// tens of files. Where each reads a file of its own, fewer fit, and requests beyond that are not answered yet.
#[doc(hidden)]
pub const DESCRIPTORS_OF_DOWNLOAD: u64 = 1;

/// An upload takes three descriptors: its socket, its file, and the directory that will have it. One that is written over
/// an old file holds that open, too, which is rare.
#[doc(hidden)]
pub const DESCRIPTORS_OF_UPLOAD: u64 = 3;

/// A server takes 64 descriptors at most beside those of transfers: standard streams, request ports, event loops, and
/// what is open for a moment.
#[doc(hidden)]
pub const DESCRIPTORS_OF_SERVER: u64 = 64;

/// The part, as a divisor, of the sessions and of the ports that those may have who only dally: the next who asks
/// finds a port at once, even where a thousand short uploads ended a moment ago.
pub(crate) const DALLYING_SHARE_DIVISOR: usize = 2;

/// When descriptors or ports run out, so many uploads that only dally are ended: as many as a request may need
/// descriptors while it is opened.
pub(crate) const EVICT_AT_ONCE: usize = 8;

/// Requests taken from a socket before the others get their turn.
pub(crate) const REQUESTS_IN_A_ROW: usize = 64;

/// Datagrams that a transfer hears in one turn when it comes back from its disk: more than a peer says in vain.
pub(crate) const HEARD_IN_A_ROW: usize = 64;

/// A request that comes within 1 s of the last step of a transfer with the same port, where all share one, is taken for a
/// late copy: who begins anew has said nothing for longer, or asks again.
#[doc(hidden)]
pub const LATE_COPY: Duration = Duration::from_secs(1);

/// A port that all transfers share asks for a receive buffer of 8 MiB: what thousands of clients say in a moment.
pub(crate) const SHARED_RECEIVE_BYTES: usize = 8 << 20;

/// Datagrams that may wait for one transfer on a shared port while it waits for its disk: a window of ACKs that are all wrong.
pub(crate) const FLOW_DATAGRAMS: usize = 1 << 15;

/// A transfer on a shared port that asks for no more has so many bytes waiting at most, and one datagram beyond.
pub(crate) const FLOW_BYTES: usize = 2_048;

/// Bytes that wait on a shared port for all transfers together: beyond this they are lost, as in a socket that is full.
pub(crate) const FLOWS_BYTES: usize = 64 << 20;

/// Datagrams that one call takes from a shared port: beyond this many the call itself is no longer what costs.
pub(crate) const DATAGRAMS_AT_ONCE: usize = 32;

/// Datagrams taken from a shared port before the times of its transfers are looked at: what came is heard before silence
/// is judged, and still nobody waits long.
pub(crate) const DATAGRAMS_IN_A_ROW: usize = 1_024;

/// A transfer on a shared port that finds no room in its socket tries again after 2 ms: the port tells only one that there is
/// some.
pub(crate) const ROOM_AGAIN: Duration = Duration::from_millis(2);

/// Sockets that an event loop hears of at once: those that are left come first the next time.
pub(crate) const EVENTS_AT_ONCE: usize = 256;

/// Ports tried for one transfer before there is none: beyond this the range is as good as full.
pub(crate) const PORTS_TRIED: usize = 64;

/// A server has 256 threads for transfers by default; each takes some 40 KiB with its kernel stack. From about here on
/// an event loop does the same work for less processor time and memory.
pub const THREADS: usize = 256;

/// The process of a transfer tells ten times in a second how far it is: a plot is smooth by that, and it costs nothing
/// beside the packets.
pub(crate) const FIGURES_EVERY: Duration = Duration::from_millis(100);

/// The process of a transfer has 64 MiB of addresses: three times what its code, its stacks and the largest window take.
#[doc(hidden)]
pub const PROCESS_BYTES: u64 = 64 << 20;

/// The process of a transfer has descriptors below 64: it takes six, and the others may have come from whoever started the
/// server.
#[doc(hidden)]
pub const PROCESS_DESCRIPTORS: u64 = 64;

/// The process of a transfer has an hour of a processor: 4 GiB in blocks of 512 bytes take two minutes of one, and twenty of
/// a small one. Who takes over the process has no more.
#[doc(hidden)]
pub const PROCESS_SECONDS: u64 = 3_600;

/// So many processes of transfers may be there beyond those that are allowed, for a moment: who gave way has not ended yet.
#[doc(hidden)]
pub const PROCESSES_ENDING: usize = 8;

/// The process of a transfer that has said nothing for 15 s is stuck, for it says every 2 s that it is there.
pub(crate) const PROCESS_SILENT: Duration = Duration::from_secs(15);

/// A transfer that is told to end has 2 s to tell its peer, which takes a packet.
pub(crate) const LAST_WORDS: Duration = Duration::from_secs(2);

/// Threads that wait for disks in the place of an event loop, so many to read and so many to write: a disk has so much to do
/// at once at most, and a network file system that hangs must not take all threads there are.
pub(crate) const STORAGE_THREADS: usize = 4;

/// Threads beside an event loop that make listings, for which anybody may ask: they take no thread from those who wait for a
/// disk.
pub(crate) const LISTING_THREADS: usize = 2;

/// Threads that wait in the place of an event loop for whoever is asked before an upload appears: more than ever wait for a
/// command, so that one upload too many is refused at once, and not in the end.
pub(crate) const ASKING_THREADS: usize = 64;

/// Commands that are asked about uploads run four at once: each may take what a processor gives.
#[doc(hidden)]
pub const UPLOAD_COMMANDS: usize = 4;

/// 32 uploads wait for their turn to be asked about; those beyond are refused.
#[doc(hidden)]
pub const UPLOADS_WAITING: usize = 32;

/// Of both, other networks have a part left by the busiest, as of the sessions: one that sends what takes long to look at, or
/// many uploads, keeps nobody else's out.
#[doc(hidden)]
pub const UPLOAD_COMMANDS_OF_NETWORK: usize =
    UPLOAD_COMMANDS - UPLOAD_COMMANDS / OTHERS_RESERVE_DIVISOR;

/// The same of those that wait.
#[doc(hidden)]
pub const UPLOADS_WAITING_OF_NETWORK: usize =
    UPLOADS_WAITING - UPLOADS_WAITING / OTHERS_RESERVE_DIVISOR;

const _: () = assert!(UPLOAD_COMMANDS + UPLOADS_WAITING < ASKING_THREADS);

/// A thread whose job is done is there for the next one for so long: to make one costs more than a small file. In a second
/// a rack that starts has asked again.
pub(crate) const THREAD_LINGER: Duration = Duration::from_secs(1);

/// The stack of a transfer's thread: many times what its calls take, for what is not touched costs nothing, and of
/// larger stacks fewer are kept for the next thread when this one ends.
pub(crate) const THREAD_STACK_BYTES: usize = 512 << 10;

// Who a client is.

/// What the kernel said of a client's hardware address holds for 1 s: a boot asks for tens of files, and a card that is
/// replaced takes longer to get there.
pub(crate) const NEIGHBOUR_HOLDS: Duration = Duration::from_secs(1);

/// Clients whose hardware addresses are remembered; beyond it the kernel is asked again for each.
pub(crate) const NEIGHBOURS: usize = 4_096;

/// Answers of the kernel that are looked at for the one that was asked for: others are of questions that went wrong.
pub(crate) const NEIGHBOUR_ANSWERS: usize = 8;

/// A rule file has 500 rules and profiles at most, and names as many folders: each folder costs a descriptor, of which
/// many systems give 1,024 at first, and each rule a look at each request.
pub const RULES: usize = 500;

// Files and listings.

/// Files that are open for several transfers at once: a boot has tens of them.
pub(crate) const SHARED_FILES: usize = 256;

/// A listing has 10,000 entries at most: so many lines are what a person or a script can still use.
pub const LISTING_ENTRIES: usize = 10_000;

/// Names looked at for one listing, those left out included: each costs system calls.
pub(crate) const LISTING_NAMES: usize = 5 * LISTING_ENTRIES;

/// A listing has 1 MiB at most: it is built in memory for each request.
pub const LISTING_BYTES: usize = 1 << 20;

/// One upload has 4 GiB at most by default: larger than any firmware or configuration, smaller than a disk.
pub const UPLOAD_BYTES: u64 = 4 << 30;

/// One upload to a store in memory has 16 MiB at most by default, a firmware image.
pub const UPLOAD_TO_MEMORY_BYTES: usize = 16 << 20;

/// A store in memory takes no upload by default beyond 256 MiB of all its files.
pub const STORE_IN_MEMORY_BYTES: usize = 256 << 20;

/// A file that a client reads into memory has 64 MiB at most by default: kernels and small ramdisks are shorter, and no
/// server fills a machine's memory.
pub const READ_BYTES: usize = 64 << 20;

/// Links that one name may lead through: as many as Linux follows.
pub(crate) const WALK_LINKS: usize = 40;

/// Parts of a name that are looked at one by one, where links lead up and each such step begins at the root again: more
/// than the longest path has.
pub(crate) const WALK_STEPS: usize = 4_096;

/// Directories that one upload may make.
pub(crate) const CREATED_DIRECTORIES: usize = 16;

/// Names looked at to find one whose letters are of another size: each costs a comparison and a part of a system call, and
/// a client may ask for nothing else.
pub(crate) const FOLDED_NAMES: usize = 10_000;

/// The most old versions of one file that are kept: its directory is read at each upload that replaces it.
pub const KEPT_VERSIONS: u16 = 1_000;

/// Numbers tried for the name of an upload: each costs a look at the file system, some microseconds on a local one.
pub const UPLOAD_NUMBERS: u32 = 9_999;

/// Names looked at for what killed uploads left: about a second's work when the server starts, beside its first
/// transfers. In a folder with more, what is farther down is left there.
pub(crate) const SWEPT_NAMES: usize = 1_000_000;

/// What killed uploads left is looked for in directories 32 deep; each costs a descriptor meanwhile.
#[doc(hidden)]
pub const SWEPT_DEPTH: usize = 32;

// Names that are rewritten.

/// A map file has 256 KiB at most: many times what anybody writes by hand.
pub const MAP_FILE_BYTES: usize = 256 << 10;

/// A map has 1,024 rules at most: all of them are tried for each request, where others wait for theirs.
pub const MAP_RULES: usize = 1_024;

/// Rules tried for one name, each repetition of one counted: twice all rules that there may be. A name that takes more
/// is refused, for its rules have no end. tftp-hpa gives up after 1,024, or never.
pub const MAP_STEPS: usize = 2 * MAP_RULES;

/// A name has 1,024 bytes at most while it is rewritten, so that rules which make it longer come to an end: a request
/// of RFC 2347 has half of that.
pub const MAPPED_NAME_BYTES: usize = 1_024;

/// A regular expression takes 256 KiB at most when it is compiled.
pub(crate) const PATTERN_BYTES: usize = 256 << 10;

/// What a regular expression keeps of the states that it has met: with all rules there may be, 200 MiB at most, and with
/// ordinary ones some KiB.
pub(crate) const PATTERN_CACHE_BYTES: usize = 64 << 10;

// The page.

/// The page lists 500 running transfers, the oldest: what a person can still look through. It counts all.
#[doc(hidden)]
pub const LISTED_TRANSFERS: usize = 500;

/// The page tells of the last 200 transfers that are over, and of the last 200 requests that got none: two racks' boot.
#[doc(hidden)]
pub const RECENT: usize = 200;

/// The plot of the page goes back 5 minutes, a point for each second.
#[doc(hidden)]
pub const PLOT_POINTS: usize = 300;

/// A listing that takes 20 ms, of some five hundred names, costs as much as some hundred requests: it holds for those who
/// ask for it next.
pub(crate) const LONG_LISTING: Duration = Duration::from_millis(20);

/// A listing holds for 1 s, in which sizes and dates may change. A name that comes or goes shows at once.
pub(crate) const LISTING_HOLDS: Duration = Duration::from_secs(1);

/// The kernel's clock, by which files have their times, has ticks of 10 ms at most; twice that is beyond doubt.
pub(crate) const KERNEL_TICK: Duration = Duration::from_millis(20);

/// Four listings are held at most: each may have ten thousand names.
pub(crate) const RECENT_LISTINGS: usize = 4;

/// The page shows 1,000 names of a directory; a listing by TFTP has more.
#[doc(hidden)]
pub const PAGE_NAMES: usize = 1_000;

/// The page has 48 connections at once: a browser opens six, and a monitor one.
#[doc(hidden)]
pub const PAGE_CONNECTIONS: usize = 48;

/// Of them 24 may follow what happens, so that the others are free for whoever asks once.
#[doc(hidden)]
pub const PAGE_FOLLOWERS: usize = 24;

/// Who connects to the page has 5 s for the head of a request, and for the next one.
#[doc(hidden)]
pub const PAGE_HEAD: Duration = Duration::from_secs(5);

/// The head of a request has 16 KiB at most.
#[doc(hidden)]
pub const PAGE_HEAD_BYTES: usize = 16 << 10;

/// Who takes nothing of an answer for 10 s is gone.
#[doc(hidden)]
pub const PAGE_STALL: Duration = Duration::from_secs(10);

/// The page waits 5 s for the listing of a directory: a disk that hangs keeps one thread, and no page.
#[doc(hidden)]
pub const PAGE_LISTING: Duration = Duration::from_secs(5);
