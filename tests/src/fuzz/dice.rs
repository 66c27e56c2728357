//! Chance that is the same from the same seed.

/// SplitMix64.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, sides: usize) -> usize {
        (self.next() % sides as u64) as usize
    }

    /// Once in so many times.
    pub fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    pub fn pick<'a, T: ?Sized>(&mut self, values: &[&'a T]) -> &'a T {
        values[self.below(values.len())]
    }

    /// A number of any size, small and large ones alike, and often one at a border.
    pub fn number(&mut self) -> i64 {
        const BORDERS: [i64; 20] = [
            0,
            1,
            -1,
            2,
            5,
            64,
            65,
            100,
            101,
            10_000,
            10_001,
            100_000,
            1_000_000,
            1_000_001,
            -1_000_001,
            2_592_000,
            2_147_483_647,
            -2_147_483_648,
            i64::MAX,
            i64::MIN,
        ];
        if self.one_in(2) {
            return BORDERS[self.below(BORDERS.len())];
        }
        let bits = self.below(64) as u32;
        (self.next() as i64) >> bits
    }
}
