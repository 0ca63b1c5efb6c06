package model

import (
	"fmt"
	"math"
	"unsafe"

	ort "github.com/yalue/onnxruntime_go"
)

// Tensor is an output whose shape is known after a run only; the last dimension is the innermost one of Data.
type Tensor[T any] struct {
	Data  []T
	Shape []int64
}

// elements is the number of elements of a shape whose sizes are all 1 or more.
func elements(shape []int64) (int, error) {
	count := int64(1)
	for _, size := range shape {
		if size < 1 {
			return 0, fmt.Errorf("a shape of %v has a size below 1", shape)
		}
		if count > math.MaxInt/8/size {
			return 0, fmt.Errorf("a shape of %v is too large", shape)
		}
		count *= size
	}
	return int(count), nil
}

// check compares the length of an input's slice with its shape.
func check(name string, found int, shape ...int64) error {
	wanted, err := elements(shape)
	if err != nil {
		return fmt.Errorf("input %q: %w", name, err)
	}
	if found != wanted {
		return fmt.Errorf("input %q has %d values; its shape %v takes %d", name, found, shape, wanted)
	}
	return nil
}

// newTensor makes a tensor and the slice that it lives in.
func newTensor[T ort.TensorData](shape ...int64) ([]T, ort.ArbitraryTensor, error) {
	count, err := elements(shape)
	if err != nil {
		return nil, nil, err
	}
	data := make([]T, count)
	tensor, err := ort.NewTensor(ort.NewShape(shape...), data)
	if err != nil {
		return nil, nil, err
	}
	return data, tensor, nil
}

// newBytes does the same for types that NewTensor does not know.
func newBytes[T any](kind ort.TensorElementDataType, shape ...int64) ([]T, ort.ArbitraryTensor, error) {
	count, err := elements(shape)
	if err != nil {
		return nil, nil, err
	}
	data := make([]T, count)
	raw := unsafe.Slice((*byte)(unsafe.Pointer(&data[0])), count*int(unsafe.Sizeof(data[0])))
	tensor, err := ort.NewCustomDataTensor(ort.NewShape(shape...), raw, kind)
	if err != nil {
		return nil, nil, err
	}
	return data, tensor, nil
}

// taken copies what ONNX Runtime has allocated for an output.
func taken[T ort.TensorData](value ort.ArbitraryTensor, out *Tensor[T]) error {
	tensor, ok := value.(*ort.Tensor[T])
	if !ok {
		return fmt.Errorf("got %T", value)
	}
	out.Data = append(out.Data[:0], tensor.GetData()...)
	out.Shape = append(out.Shape[:0], tensor.GetShape()...)
	return nil
}
