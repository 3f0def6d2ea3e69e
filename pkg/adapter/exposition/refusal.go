package exposition

// Refused families: a fault of one family must not cost the others their samples.

// refuseFamily refuses a family of the page as a whole. A page without another wanted family is rejected at once: nobody needs
// the rest of it.
func (p *Parser) refuseFamily(family int, err *Error) {
	f := &p.families[family]
	if f.Err != nil {
		return
	}
	f.Err = err
	p.acceptedCount -= f.Samples
	f.Samples = 0
	if p.refusedCount++; p.options.AllFamilies {
		p.rejectPage(err)
	} else if p.refusedCount == len(p.families) {
		p.rejectPage(p.families[p.firstRefused()].Err)
	}
	if p.options.MaxSamples > 0 && len(p.samples) >= 2*p.options.MaxSamples {
		p.dropRefusedSamples()
	}
}

// firstRefused returns the family with the lowest rank, which the error of the whole page is about.
func (p *Parser) firstRefused() int {
	first := 0
	for i := range p.families {
		if p.rankOf(i) < p.rankOf(first) {
			first = i
		}
	}
	return first
}

// overflowingFamily returns the family to refuse on a page with too many samples.
func (p *Parser) overflowingFamily() int {
	victim := -1
	for i, f := range p.families {
		if f.Samples == 0 {
			continue
		}
		if victim < 0 || p.rankOf(i) > p.rankOf(victim) || p.rankOf(i) == p.rankOf(victim) && f.Samples > p.families[victim].Samples {
			victim = i
		}
	}
	return victim
}

func (p *Parser) rankOf(family int) int {
	if family >= len(p.options.Ranks) {
		return 0
	}
	return p.options.Ranks[family]
}

// dropRefusedSamples removes the samples of refused families.
func (p *Parser) dropRefusedSamples() {
	kept := p.samples[:0]
	for _, sample := range p.samples {
		if p.families[sample.family].Err == nil {
			sample.Series.sampleIndex = len(kept)
			kept = append(kept, sample)
		}
	}
	p.samples = kept
}
