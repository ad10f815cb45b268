//! The checksums of the format: a block's over its content, and a stream's over those of its blocks.

/// The checksum of a block that holds these bytes: the CRC-32 that takes the most significant bit first.
pub fn of(content: &[u8]) -> u32 {
    !content.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte) << 24, |crc, _| crc << 1 ^ if crc >> 31 == 1 { 0x04c1_1db7 } else { 0 })
    })
}

/// The checksum of a stream of blocks with these.
pub fn of_stream(blocks: impl IntoIterator<Item = u32>) -> u32 {
    blocks.into_iter().fold(0, |stream, block| stream.rotate_left(1) ^ block)
}
