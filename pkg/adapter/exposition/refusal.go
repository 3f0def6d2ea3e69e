package exposition

// Refused families: a fault of one family must not cost the others their samples.

// refuseExpositionFamily refuses a family of the page as a whole. Without another wanted family it rejects the page at once: the rest is
// of no use.
func (p *Parser) refuseExpositionFamily(family int, err *Error) {
	f := &p.families[family]
	if f.Err != nil {
		return
	}
	f.Err = err
	p.acceptedCount -= f.Samples
	f.Samples = 0
	if p.refusedCount++; p.options.AllFamilies {
		p.rejectExpositionPage(err)
	} else if p.refusedCount == len(p.families) {
		p.rejectExpositionPage(p.families[p.firstRefusedExpositionFamily()].Err)
	}
	if p.options.MaxSamples > 0 && len(p.samples) >= 2*p.options.MaxSamples {
		p.dropRefusedExpositionSamples()
	}
}

// firstRefusedExpositionFamily returns the family with the lowest rank, which the error of the whole page is about.
func (p *Parser) firstRefusedExpositionFamily() int {
	first := 0
	for i := range p.families {
		if p.rankOfExpositionFamily(i) < p.rankOfExpositionFamily(first) {
			first = i
		}
	}
	return first
}

// overflowingExpositionFamily returns the family to refuse on a page with too many samples.
func (p *Parser) overflowingExpositionFamily() int {
	victim := -1
	for i, f := range p.families {
		if f.Samples == 0 {
			continue
		}
		if victim < 0 || p.rankOfExpositionFamily(i) > p.rankOfExpositionFamily(victim) || p.rankOfExpositionFamily(i) == p.rankOfExpositionFamily(victim) && f.Samples > p.families[victim].Samples {
			victim = i
		}
	}
	return victim
}

func (p *Parser) rankOfExpositionFamily(family int) int {
	if family >= len(p.options.Ranks) {
		return 0
	}
	return p.options.Ranks[family]
}

// dropRefusedExpositionSamples removes the samples of refused families.
func (p *Parser) dropRefusedExpositionSamples() {
	kept := p.samples[:0]
	for _, sample := range p.samples {
		if p.families[sample.family].Err == nil {
			sample.Series.sampleIndex = len(kept)
			kept = append(kept, sample)
		}
	}
	p.samples = kept
}
