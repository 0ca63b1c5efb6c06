package model

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"testing"
)

// place is where a tensor lies in the golden file.
type place struct {
	offset, size int
	shape        []int64
}

// read returns the elements of a tensor in the golden file, which is little-endian.
func read[T any](t testing.TB, golden []byte, at place) []T {
	count := int64(1)
	for _, size := range at.shape {
		count *= size
	}
	data := make([]T, count)
	if err := binary.Read(bytes.NewReader(golden[at.offset:at.offset+at.size]), binary.LittleEndian, data); err != nil {
		t.Fatal(err)
	}
	return data
}

func sameShape(t testing.TB, name string, at place, got []int64) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(at.shape) {
		t.Errorf("output %q has shape %v, not %v", name, got, at.shape)
	}
}

// compare wants the bytes of the golden file when GOLDEN_EXACT is set, as they come from the same library on the same machine,
// and else what is near: all elements within atol + rtol * |golden|, or a signal-to-noise ratio of minSNR and more.
func compare[T any](t testing.TB, name string, golden []byte, at place, got []T, half bool) {
	t.Helper()
	var raw bytes.Buffer
	if err := binary.Write(&raw, binary.LittleEndian, got); err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(raw.Bytes(), golden[at.offset:at.offset+at.size]) {
		return
	}
	if os.Getenv("GOLDEN_EXACT") != "" {
		t.Errorf("output %q is not the golden one bit for bit", name)
		return
	}
	far, ratio := distance(numbers(got, half), numbers(read[T](t, golden, at), half), isFloat(got, half))
	if far > 0 && !(minSNR > 0 && ratio >= minSNR) {
		t.Errorf("output %q: %d of %d values are too far off, signal-to-noise ratio %.1f dB", name, far, len(got), ratio)
	}
}

// distance counts the elements that are not near, and gives the signal-to-noise ratio in dB. NaN is never near.
func distance(got, want []float64, relative bool) (far int, ratio float64) {
	if len(got) != len(want) {
		return len(want) + 1, math.Inf(-1)
	}
	signal, noise := 0.0, 0.0
	for i, b := range want {
		limit := atol
		if relative {
			limit += rtol * math.Abs(b)
		}
		if !(got[i] == b || !math.IsInf(b, 0) && math.Abs(got[i]-b) <= limit) {
			far++
		}
		signal, noise = signal+b*b, noise+(got[i]-b)*(got[i]-b)
	}
	return far, 10 * math.Log10(signal/noise)
}

func isFloat[T any](data []T, half bool) bool {
	switch any(data).(type) {
	case []float32, []float64:
		return true
	}
	return half
}

func numbers[T any](data []T, half bool) []float64 {
	found := make([]float64, len(data))
	for i, one := range data {
		switch value := any(one).(type) {
		case float32:
			found[i] = float64(value)
		case float64:
			found[i] = value
		case int8:
			found[i] = float64(value)
		case int16:
			found[i] = float64(value)
		case int32:
			found[i] = float64(value)
		case int64:
			found[i] = float64(value)
		case uint8:
			found[i] = float64(value)
		case uint16:
			found[i] = float64(value)
			if half {
				found[i] = fromHalf(value)
			}
		case uint32:
			found[i] = float64(value)
		case uint64:
			found[i] = float64(value)
		case bool:
			if value {
				found[i] = 1
			}
		}
	}
	return found
}

// fromHalf is the number that the bits of a float16 mean.
func fromHalf(bits uint16) float64 {
	sign := 1.0
	if bits>>15 == 1 {
		sign = -1
	}
	exponent, fraction := int(bits>>10&31), float64(bits&1023)
	switch {
	case exponent == 31 && fraction != 0:
		return math.NaN()
	case exponent == 31:
		return math.Inf(int(sign))
	case exponent == 0:
		return sign * math.Ldexp(fraction, -24)
	}
	return sign * math.Ldexp(1024+fraction, exponent-25)
}
