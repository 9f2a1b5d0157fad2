// Turn a JPEG or PNG file into the pixels of an export of erde. C++17, libjpeg and libpng.
#pragma once
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdio>  // before jpeglib.h
#include <cstring>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <vector>

#include <jpeglib.h>
#include <png.h>

namespace erde {

// erde.input of the export: the keys that this file needs.
struct Input {
  int size = 224;
  int short_side = 0;  // 0: resize "squash"
  bool bicubic = false;
  int gray_bits = 16;
  int background = 255;  // transparent "white"; 0: "black"; -1: "ignore"
};

struct Image {
  int width = 0, height = 0;
  std::vector<uint8_t> rgb;  // row by row
};

using Bytes = std::vector<uint8_t>;

// Rounded a * b / 255, as Pillow rounds.
inline int scaled(int a, int b) {
  int product = a * b + 128;
  return (product + (product >> 8)) >> 8;
}

// EXIF orientation, 1 to 8, from a TIFF header ("II*\0" or "MM\0*"); 1: none.
inline int orientation(const uint8_t* exif, size_t length) {
  if (length < 8) return 1;
  bool little = exif[0] == 'I';
  auto number = [&](size_t at, int bytes) -> size_t {
    size_t value = 0;
    for (int i = 0; i < bytes && at + bytes <= length; i++)
      value |= size_t(exif[at + i]) << 8 * (little ? i : bytes - 1 - i);
    return value;
  };
  size_t start = number(4, 4), count = number(start, 2);
  for (size_t entry = start + 2; count-- && entry + 12 <= length; entry += 12) {
    if (number(entry, 2) != 0x0112) continue;
    size_t value = number(entry + 8, number(entry + 2, 2) == 3 ? 2 : 4);
    return value >= 1 && value <= 8 ? int(value) : 1;
  }
  return 1;
}

inline Image turned(const Image& image, int orientation) {
  if (orientation == 1) return image;
  bool swaps = orientation > 4;
  bool flips_x = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  bool flips_y = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  Image out;
  out.width = swaps ? image.height : image.width;
  out.height = swaps ? image.width : image.height;
  out.rgb.resize(image.rgb.size());
  for (int y = 0; y < out.height; y++)
    for (int x = 0; x < out.width; x++) {
      int from_x = swaps ? y : x, from_y = swaps ? x : y;
      if (flips_x) from_x = image.width - 1 - from_x;
      if (flips_y) from_y = image.height - 1 - from_y;
      std::copy_n(&image.rgb[3 * (size_t(from_y) * image.width + from_x)], 3,
                  &out.rgb[3 * (size_t(y) * out.width + x)]);
    }
  return out;
}

[[noreturn]] inline void refuse(j_common_ptr state) {
  char text[JMSG_LENGTH_MAX];
  state->err->format_message(state, text);
  throw std::runtime_error(text);
}

inline Image from_jpeg(const Bytes& file) {
  jpeg_decompress_struct jpeg;
  jpeg_error_mgr errors;
  jpeg.err = jpeg_std_error(&errors);
  errors.error_exit = refuse;
  jpeg_create_decompress(&jpeg);
  Image image;
  int turn = 1;
  try {
    jpeg_mem_src(&jpeg, file.data(), file.size());
    jpeg_save_markers(&jpeg, JPEG_APP0 + 1, 0xFFFF);
    jpeg_read_header(&jpeg, TRUE);
    for (auto mark = jpeg.marker_list; mark; mark = mark->next)
      if (mark->data_length > 6 && !std::memcmp(mark->data, "Exif\0\0", 6))
        turn = orientation(mark->data + 6, mark->data_length - 6);
    bool inks = jpeg.num_components == 4;
    jpeg.out_color_space = inks ? JCS_CMYK : JCS_RGB;
    jpeg_start_decompress(&jpeg);
    image.width = int(jpeg.output_width);
    image.height = int(jpeg.output_height);
    Bytes row(size_t(image.width) * (inks ? 4 : 3));
    while (jpeg.output_scanline < jpeg.output_height) {
      uint8_t* rows[] = {row.data()};
      jpeg_read_scanlines(&jpeg, rows, 1);
      if (!inks) image.rgb.insert(image.rgb.end(), row.begin(), row.end());
      for (size_t at = 0; inks && at < row.size(); at += 4)  // stored inverted: 255 is no ink
        for (int c = 0; c < 3; c++)
          image.rgb.push_back(
              uint8_t(std::max(0, row[at + 3] - scaled(255 - row[at + c], row[at + 3]))));
    }
    jpeg_finish_decompress(&jpeg);
  } catch (...) {
    jpeg_destroy_decompress(&jpeg);
    throw;
  }
  jpeg_destroy_decompress(&jpeg);
  return turned(image, turn);
}

struct Reading {
  const Bytes* file;
  size_t at;
};

inline void read_png(png_structp png, png_bytep out, png_size_t length) {
  auto* reading = static_cast<Reading*>(png_get_io_ptr(png));
  if (reading->at + length > reading->file->size()) png_error(png, "the file is too short");
  std::copy_n(reading->file->data() + reading->at, length, out);
  reading->at += length;
}

[[noreturn]] inline void refuse_png(png_structp, png_const_charp text) {
  throw std::runtime_error(text);
}

inline Image from_png(const Bytes& file, const Input& input) {
  png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, nullptr, refuse_png, nullptr);
  png_infop info = png_create_info_struct(png);
  Image image;
  int turn = 1;
  try {
    Reading reading{&file, 0};
    png_set_read_fn(png, &reading, read_png);
    png_read_info(png, info);
    bool gray = png_get_color_type(png, info) == PNG_COLOR_TYPE_GRAY;
    bool deep = gray && png_get_bit_depth(png, info) == 16;
    png_set_expand(png);  // palettes, fewer than 8 bits, transparent colours
    if (!deep) png_set_strip_16(png);
    if (!deep) png_set_gray_to_rgb(png);
    if (!deep) png_set_add_alpha(png, 255, PNG_FILLER_AFTER);
    png_set_interlace_handling(png);
    png_read_update_info(png, info);
    image.width = int(png_get_image_width(png, info));
    image.height = int(png_get_image_height(png, info));
    size_t length = png_get_rowbytes(png, info);
    Bytes pixels(length * image.height);
    std::vector<png_bytep> rows;
    for (int y = 0; y < image.height; y++) rows.push_back(&pixels[y * length]);
    png_read_image(png, rows.data());
    png_read_end(png, info);
    png_bytep exif = nullptr;
    png_uint_32 exif_length = 0;
    if (png_get_eXIf_1(png, info, &exif_length, &exif)) turn = orientation(exif, exif_length);
    size_t step = length / image.width;  // 2 or 4 bytes: deep gray (and alpha), RGBA
    for (size_t at = 0; at + step <= pixels.size(); at += step)
      for (int c = 0; c < 3; c++) {
        int value = pixels[at + (deep ? 0 : c)];
        if (deep) value = std::min(255, (value << 8 | pixels[at + 1]) >> (input.gray_bits - 8));
        int alpha = deep || input.background < 0 ? 255 : pixels[at + 3];
        int sum = value * alpha + std::max(0, input.background) * (255 - alpha) + 128;
        image.rgb.push_back(uint8_t((sum + (sum >> 8)) >> 8));
      }
  } catch (...) {
    png_destroy_read_struct(&png, &info, nullptr);
    throw;
  }
  png_destroy_read_struct(&png, &info, nullptr);
  return turned(image, turn);
}

struct Row {
  int first;
  std::vector<int32_t> shares;
};

// Pillow's weights of a resize in one direction, whole numbers of 2**22.
inline std::vector<Row> weights(int length, int wanted, bool bicubic) {
  double scale = double(length) / wanted, wide = std::max(scale, 1.0);
  double support = wide * (bicubic ? 2 : 1);
  std::vector<Row> rows;
  for (int at = 0; at < wanted; at++) {
    double centre = (at + 0.5) * scale, sum = 0;
    int first = std::max(0, int(centre - support + 0.5));
    int last = std::min(length, int(centre + support + 0.5));
    std::vector<double> values;
    for (int from = first; from < last; from++) {
      double x = std::abs((from - centre + 0.5) * (1 / wide));
      double value = std::max(0.0, 1 - x);
      if (bicubic)
        value = x < 1 ? ((1.5 * x - 2.5) * x) * x + 1
              : x < 2 ? (((x - 5) * x + 8) * x - 4) * -0.5 : 0;
      values.push_back(value);
      sum += value;
    }
    Row row{first, {}};
    for (double value : values) {
      double share = value / sum * (1 << 22);
      row.shares.push_back(int32_t(share < 0 ? share - 0.5 : share + 0.5));
    }
    rows.push_back(row);
  }
  return rows;
}

// Resize lines of pixels: `step` bytes between neighbours, `next` between lines.
inline Bytes pass(const Bytes& data, int lines, const std::vector<Row>& rows, size_t step,
                  size_t next, size_t out_step, size_t out_next) {
  Bytes out(3 * size_t(lines) * rows.size());
  for (int line = 0; line < lines; line++)
    for (size_t at = 0; at < rows.size(); at++)
      for (int c = 0; c < 3; c++) {
        int32_t sum = 1 << 21;
        size_t from = line * next + rows[at].first * step + c;
        for (int32_t share : rows[at].shares) sum += data[from] * share, from += step;
        out[line * out_next + at * out_step + c] = uint8_t(std::clamp(sum >> 22, 0, 255));
      }
  return out;
}

inline void make_wide(Image& image, int width, bool bicubic) {
  if (image.width == width) return;
  size_t line = 3 * size_t(image.width), out_line = 3 * size_t(width);
  auto rows = weights(image.width, width, bicubic);
  image.rgb = pass(image.rgb, image.height, rows, 3, line, 3, out_line);
  image.width = width;
}

inline void make_high(Image& image, int height, bool bicubic) {
  if (image.height == height) return;
  size_t line = 3 * size_t(image.width);
  auto rows = weights(image.height, height, bicubic);
  image.rgb = pass(image.rgb, image.width, rows, line, 3, line, 3);
  image.height = height;
}

// Pillow's resize in two passes, each rounded to 8 bits.
inline Image resized(Image image, int width, int height, bool bicubic) {
  int less_high = image.height - height, less_wide = image.width - width;
  bool rows_first = less_high > 0 && less_high > 2 * less_wide;  // since Pillow 13
  if (rows_first) make_high(image, height, bicubic);
  make_wide(image, width, bicubic);
  make_high(image, height, bicubic);
  return image;
}

inline int half_to_even(int twice) {  // twice / 2, rounded
  return twice % 2 ? twice / 2 + (twice / 2) % 2 : twice / 2;
}

// Pixels at the size of the network: size * size * 3 bytes, RGB.
inline Bytes pixels_of(const std::string& path, const Input& input) {
  std::ifstream stream(path, std::ios::binary);
  Bytes file{std::istreambuf_iterator<char>(stream), {}};
  if (file.size() < 8) throw std::runtime_error(path + " cannot be read");
  bool is_jpeg = file[0] == 0xFF && file[1] == 0xD8;
  if (!is_jpeg && png_sig_cmp(file.data(), 0, 8)) throw std::runtime_error(path + ": no JPEG or PNG");
  Image image = is_jpeg ? from_jpeg(file) : from_png(file, input);
  int width = input.size, height = input.size;
  if (input.short_side) {
    int shortest = std::min(image.width, image.height);
    width = int(int64_t(input.short_side) * image.width / shortest);
    height = int(int64_t(input.short_side) * image.height / shortest);
  }
  image = resized(image, width, height, input.bicubic);
  int left = half_to_even(width - input.size), top = half_to_even(height - input.size);
  Bytes pixels;
  for (int y = top; y < top + input.size; y++) {
    auto row = image.rgb.begin() + 3 * (size_t(y) * width + left);
    pixels.insert(pixels.end(), row, row + 3 * input.size);
  }
  return pixels;
}

}  // namespace erde
