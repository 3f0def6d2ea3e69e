package exposition

// Refused families: a fault of one family must not cost the others their samples.

// refusePageFamily refuses a family of the page as a whole. Without another wanted family it rejects the page at once: the rest is
// of no use.
func (p *Parser) refusePageFamily(family int, err *Error) {
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
		p.rejectExpositionPage(p.families[p.firstRefusedPageFamily()].Err)
	}
	if p.options.MaxSamples > 0 && len(p.samples) >= 2*p.options.MaxSamples {
		p.dropRefusedPageSamples()
	}
}

// firstRefusedPageFamily returns the family with the lowest rank, which the error of the whole page is about.
func (p *Parser) firstRefusedPageFamily() int {
	first := 0
	for i := range p.families {
		if p.rankOfPageFamily(i) < p.rankOfPageFamily(first) {
			first = i
		}
	}
	return first
}

// overflowingPageFamily returns the family to refuse on a page with too many samples.
func (p *Parser) overflowingPageFamily() int {
	victim := -1
	for i, f := range p.families {
		if f.Samples == 0 {
			continue
		}
		if victim < 0 || p.rankOfPageFamily(i) > p.rankOfPageFamily(victim) || p.rankOfPageFamily(i) == p.rankOfPageFamily(victim) && f.Samples > p.families[victim].Samples {
			victim = i
		}
	}
	return victim
}

func (p *Parser) rankOfPageFamily(family int) int {
	if family >= len(p.options.Ranks) {
		return 0
	}
	return p.options.Ranks[family]
}

// dropRefusedPageSamples removes the samples of refused families.
func (p *Parser) dropRefusedPageSamples() {
	kept := p.samples[:0]
	for _, sample := range p.samples {
		if p.families[sample.family].Err == nil {
			sample.Series.sampleIndex = len(kept)
			kept = append(kept, sample)
		}
	}
	p.samples = kept
}
