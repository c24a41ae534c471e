// Draws the dashboard into the page.
import { render } from "preact";
import { Frame } from "./ui/frame";
import "./style.css";

const place = document.getElementById("app");
if (place) render(<Frame />, place);
