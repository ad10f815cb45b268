//! The checksums of the format: of a block's content, and of a stream's block checksums.

/// Returns the checksum of a block with this content: the CRC-32 that processes the most significant bit first.
pub fn of(content: &[u8]) -> u32 {
    !content.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte) << 24, |crc, _| crc << 1 ^ if crc >> 31 == 1 { 0x04c1_1db7 } else { 0 })
    })
}

/// Returns the checksum of a stream of blocks with these checksums.
pub fn of_stream(blocks: impl IntoIterator<Item = u32>) -> u32 {
    blocks.into_iter().fold(0, |stream, block| stream.rotate_left(1) ^ block)
}
