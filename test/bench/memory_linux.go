// The processors of a process that is measured for its memory, not its speed.

package main

// allProcessors returns all processors of the machine.
func (p *processors) allProcessors() cpuSet {
	all := p.others
	for cpu := range len(all) * 64 {
		if p.measured.IsSet(cpu) {
			all.Set(cpu)
		}
	}
	return all
}
