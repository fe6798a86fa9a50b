//! What leaves at once: packets, one behind the other.

/// Packets to send that lie one behind the other in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Burst<'a> {
    /// All their bytes.
    pub bytes: &'a [u8],
    /// The length in bytes of each packet but the last, which may be shorter.
    pub packet: usize,
    /// How many packets there are.
    pub packets: u64,
    /// How many of them have been sent before.
    pub resent: u64,
    /// Whether it is a probe: one packet once more, to learn what silence means.
    pub is_probe: bool,
}

impl<'a> Burst<'a> {
    /// The packets one by one: each is a datagram of its own.
    pub fn datagrams(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.bytes.chunks(self.packet.max(1))
    }

    pub(super) fn single(bytes: &'a [u8], again: bool) -> Self {
        Self { bytes, packet: bytes.len(), packets: 1, resent: again.into(), is_probe: false }
    }
}
