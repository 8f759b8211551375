package bell

import "strconv"

// slots is how many slots a Redis Cluster has.
const slots = 16384

// tags are hash tags for n partitions: that of the i-th has its slot in the i-th of n
// equal parts of all slots. Masters mostly have as many slots in one piece; so each
// gets its share of the partitions, which it would not if they were just numbered.
func tags(n int) []string {
	out := make([]string, n)
	for found, candidate := 0, 0; found < n; candidate++ {
		tag := strconv.Itoa(candidate)
		if i := slotOf(tag) * n / slots; out[i] == "" {
			out[i] = tag
			found++
		}
	}
	return out
}

// slotOf is the slot of a hash tag: the CRC-16 of XMODEM, as Redis Cluster has it.
func slotOf(tag string) int {
	var crc uint16
	for i := range len(tag) {
		crc ^= uint16(tag[i]) << 8
		for range 8 {
			carry := crc >> 15
			crc = crc<<1 ^ carry*0x1021
		}
	}
	return int(crc) % slots
}
