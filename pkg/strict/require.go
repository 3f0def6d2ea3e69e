package strict

// Require adds a fault for each key of the mapping at path that is missing. A key that has a fault already does not count as missing.
func (d *Decoder) Require(path string, keys ...string) {
	for _, key := range keys {
		if at := JoinPath(path, key); !d.HasKey(at) && !d.HasFault(at) {
			d.AddFaultAtLine(at, d.Line(path), "required")
		}
	}
}
